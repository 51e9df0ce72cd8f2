# The paths that kferry uses, and the components they need. Run on Aiven's document:
#   jq -c -f trim.jq openapi-full.json > openapi.json
def refs: [.. | objects | .["$ref"]? // empty | select(startswith("#/components/"))] | unique;
def closure($doc): . as $have
  | ($have + [$have[] | (ltrimstr("#/") / "/") as $p | $doc | getpath($p) | refs[]] | unique)
  | if length == ($have | length) then . else closure($doc) end;
def bare: walk(if type == "object" then
    (if (.description | type) == "string" then del(.description) else . end)
    | (if (.title | type) == "string" then del(.title) else . end)
    | (if has("example") and (has("type") or has("schema")) then del(.example) else . end) else . end)
  | walk(if type == "object" and has("operationId") then .responses |= map_values(.description = "") | del(.tags, .summary, .security) else . end);
. as $doc
| .paths |= with_entries(select(.key | IN(
    "/project/{project}",
    "/project/{project}/service", "/project/{project}/service/{service_name}",
    "/project/{project}/service/{service_name}/tags",
    "/project/{project}/service-types/{service_type}/plans",
    "/project/{project}/integration_endpoint", "/project/{project}/integration_endpoint/{integration_endpoint_id}",
    "/project/{project}/integration", "/project/{project}/integration/{integration_id}",
    "/project/{project}/service/{service_name}/integration",
    "/project/{project}/service/{service_name}/mirrormaker/replication-flows",
    "/project/{project}/service/{service_name}/mirrormaker/replication-flows/{source_cluster}/{target_cluster}",
    "/project/{project}/kms/ca",
    "/project/{project}/service/{service_name}/user", "/project/{project}/service/{service_name}/user/{service_username}",
    "/project/{project}/service/{service_name}/acl", "/project/{project}/service/{service_name}/acl/{kafka_acl_id}",
    "/project/{project}/service/{service_name}/kafka/acl", "/project/{project}/service/{service_name}/kafka/acl/{kafka_acl_id}",
    "/project/{project}/service/{service_name}/topic", "/project/{project}/service/{service_name}/topic/{topic_name}",
    "/project/{project}/service/{service_name}/kafka/schema/subjects",
    "/project/{project}/service/{service_name}/kafka/schema/subjects/{subject_name}/versions",
    "/project/{project}/service/{service_name}/kafka/schema/subjects/{subject_name}/versions/{version_id}",
    "/project/{project}/service/{service_name}/kafka/schema/config/{subject_name}",
    "/project/{project}/service/{service_name}/connectors", "/project/{project}/service/{service_name}/connectors/{connector_name}",
    "/project/{project}/service/{service_name}/connectors/{connector_name}/status")))
| (.paths | refs | closure($doc)) as $need
| .components = reduce $need[] as $r ({}; (($r | ltrimstr("#/components/")) / "/") as $p | setpath($p; $doc.components | getpath($p)))
| .components.securitySchemes = $doc.components.securitySchemes
| bare
| del(.tags, .["x-logo"], .["x-tagGroups"], .info["x-logo"])
# What the document has wrong. The real API sends null for what is not there and takes null for "none".
| walk(if type == "object" and has("properties") and (.properties | type) == "object" then
    .properties |= with_entries(
      if (.key | IN("project_vpc_id", "service_uri", "source_service", "dest_service", "source_endpoint", "source_endpoint_id",
                   "dest_endpoint", "dest_endpoint_id", "access_cert", "access_key", "user_config", "owner_user_group_id", "topic_description")) and ((.value | type) == "object") and (.value | has("type"))
      then .value.nullable = true else . end) else . end)
# The text "null" among allowed values means null.
| walk(if type == "object" and (.enum | type) == "array" and (.enum | index("null")) then .enum += [null] | .nullable = true else . end)
# Fields that are newer than the document.
| walk(if type == "object" and (.properties | type) == "object" and (.properties | has("emit_heartbeats_enabled")) then
    .properties += {follower_fetching_enabled: {type: "boolean"}, diskless_az_enabled: {type: "boolean"}} else . end)
# Nothing there refuses a field that does not exist, so a misspelled one would go unnoticed.
| .components.schemas |= with_entries(if .key | endswith("RequestBody") then .value.additionalProperties = false else . end)
# A connector may have any setting, as text.
| .components.schemas |= with_entries(if .key | test("Connector(RequestBody)$") then .value.additionalProperties = {type: "string"} else . end)
| .servers = [{url: "/v1"}]
