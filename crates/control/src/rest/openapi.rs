//! The OpenAPI 3.1 document, made from the table of endpoints and the wire types.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::route::{Access, Answers, Holds, Parameter, Route, Routes};
use crate::problem::{self, ProblemDocument};

/// The document.
pub(super) fn document(routes: &Routes) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<ProblemDocument>();
    let mut paths = Map::new();
    for route in &routes.0 {
        let operation = operation(route, &problem.clone().to_value(), &mut generator);
        let methods = paths.entry(route.path).or_insert_with(|| json!({}));
        methods[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Offshoot control API",
            "version": "1",
            "description": "Version 1 adds fields and endpoints, and changes none. Paths are absolute paths in the pool. \
                            HEAD is known wherever GET is. A request that is no HTTP, or whose head is too large, is answered \
                            with a status alone (400, 414, 431); every other failure is a problem document.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

fn operation(route: &Route, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let content = match route.answers {
        Answers::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
        Answers::Lines(schema) => json!({ "application/x-ndjson": { "schema": schema(generator) } }),
        Answers::Bytes => json!({ "application/octet-stream": {} }),
        Answers::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
    };
    let mut parameters: Vec<Value> = route.parameters.iter().map(parameter).collect();
    if route.path.contains("{id}") {
        let schema = json!({ "type": "integer", "minimum": 1 });
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": schema }));
    }
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            route.status.to_string(): { "description": "Done", "content": content },
            "default": {
                "description": "A problem (RFC 9457)",
                "content": { problem::MEDIA_TYPE: { "schema": problem } },
            },
        },
    });
    if let Some(schema) = route.request {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema(generator) } } });
    }
    match route.access {
        Access::Open => operation["security"] = json!([]),
        Access::Known => {}
        Access::Administrator => {
            operation["description"] =
                json!("Only for root, the server's own user and holders of the token.");
        }
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let one = match parameter.holds {
        Holds::Path => json!({ "type": "string", "pattern": "^/" }),
        Holds::Text => json!({ "type": "string" }),
        Holds::Integer => json!({ "type": "integer", "minimum": 0 }),
        Holds::Flag => json!({ "type": "boolean" }),
    };
    let schema = if parameter.repeated { json!({ "type": "array", "items": one }) } else { one };
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": schema,
    })
}

#[cfg(test)]
mod tests {
    use super::super::endpoint;
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(target) if key == "$ref" => found.push(target.to_owned()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_names_every_endpoint_and_every_reference_leads_somewhere() {
        let routes = endpoint::routes();
        let document = document(&routes);
        for route in &routes.0 {
            let method = route.method.as_str().to_ascii_lowercase();
            assert!(
                document["paths"][route.path][method]["summary"].is_string(),
                "{} {}",
                route.method,
                route.path
            );
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }

    #[test]
    fn requests_refuse_unknown_fields_in_the_document_too() {
        let document = document(&endpoint::routes());
        let request = &document["components"]["schemas"]["CloneRequest"];
        assert_eq!(request["additionalProperties"], json!(false));
        assert_eq!(request["required"], json!(["source", "destination"]));
    }

    #[test]
    fn no_endpoint_stands_twice() {
        let routes = endpoint::routes();
        let mut all: Vec<_> = routes.0.iter().map(|route| (route.path, route.method.as_str())).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
