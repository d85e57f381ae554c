"""Words of the providers' own APIs: they carry no text of the caller, so no scan needs them.

Owns: which keys and which constant values are the API's. Refuses: everything else; a key or a
value that is not here is text, because an unknown parameter must not hide any.
"""

from __future__ import annotations

from typing import Final

_BODY_KEYS: Final = """
model messages role content type text name stream stream_options include_usage max_tokens
max_completion_tokens max_output_tokens temperature top_p top_k n stop stop_sequences seed user
presence_penalty frequency_penalty logit_bias logprobs top_logprobs response_format tools
tool_choice tool_calls tool_call_id function functions function_call arguments parallel_tool_calls
id input instructions metadata store service_tier reasoning effort reasoning_effort verbosity
modalities prediction prompt suffix echo best_of dimensions encoding_format input_type
previous_response_id conversation include truncation background format call_id output status
summary item_reference system thinking budget_tokens cache_control ttl source media_type data url
image_url detail file file_id file_data filename input_audio audio voice title context citations
tool_use_id is_error container mcp_servers output_config container_id file_ids vector_store_ids
contents parts generationConfig generation_config systemInstruction system_instruction
safetySettings safety_settings category threshold toolConfig tool_config functionCallingConfig
mode functionDeclarations function_declarations functionCall functionResponse args response
temperature topP topK maxOutputTokens candidateCount stopSequences responseMimeType
responseSchema thinkingConfig thinkingBudget includeThoughts inlineData fileData mimeType fileUri
cachedContent labels inferenceConfig maxTokens toolSpec inputSchema json toolUse toolUseId
toolResult additionalModelRequestFields cachePoint bytes image document video guardContent
anthropic_version anthropic_beta jsonrpc method params _meta progressToken cursor uri
protocolVersion capabilities clientInfo version strict signature refusal safety_identifier
prompt_cache_key user_id thinkingLevel server_label server_url require_approval allowed_tools
input_schema output_schema parameters outputSchema requestedSchema prompt_cache_retention size
quality language documents query texts return_documents top_n speed response_modalities
"""
_SCHEMA_KEYS: Final = """
$schema $id $ref $defs $comment definitions properties required additionalProperties items
prefixItems enum const default description examples anyOf oneOf allOf not if then else minimum
maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern minItems maxItems
uniqueItems contains minProperties maxProperties patternProperties propertyNames
dependentRequired dependentSchemas nullable readOnly writeOnly deprecated contentEncoding
contentMediaType unevaluatedProperties schema json_schema property_ordering propertyOrdering
"""
_VALUES: Final = """
user assistant system developer tool model function text string object array number integer
boolean null auto none required any custom json_object json_schema image_url input_text
output_text input_image input_file input_audio tool_use tool_result tool_call function_call
function_call_output message reasoning item_reference ephemeral enabled disabled adaptive base64
url image document low medium high minimal default detailed concise completed in_progress
incomplete float 2.0 web_search web_search_preview file_search code_interpreter image_generation
mcp tools/call tools/list initialize ping
"""

KEYS: Final = frozenset((_BODY_KEYS + _SCHEMA_KEYS).split())
VALUES: Final = frozenset(_VALUES.split())
