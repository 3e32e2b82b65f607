//! A project's own connectors.

group! {
    Own {
        lead: "How each API is spoken with. The built-in ones serve every project; {project} can have its own.",
        mine: "Of this project",
        none: "No connector of its own yet",
        none_help: "A connector is a text that says where an API is, how it lets one in, and what can be asked. Write one for an API of yours.",
        new: "New connector",
        edit: "Change it",
        edit_title: "Change {name}",
        source: "Definition (YAML or JSON)",
        source_help: "The language is described in the reference. What is wrong with it is told with its line.",
        reference: "The reference",
        save: "Save the connector",
        delete: "Delete",
        delete_help: "Only while no credential uses it.",
        credentials: "{n} credential|{n} credentials",
        use_it: "Make a credential",
        changed: "The change moves where values go. {n} credential waits until its owner approves.|The change moves where values go. {n} credentials wait until their owners approve.",
        wrong_lines: "In these lines",
        line: "Line {line}",
        line_column: "Line {line}, column {column}",
        preview_lead: "By each method, with the examples of its fields or the word example in their place. Nothing was sent and nothing was saved.",
        preview_test: "With values of your own: save the connector, then preview or test them on the form of a new credential.",
        example: "id: my_api
name: My API
hosts: [api.example.com]
base_url: https://api.example.com
auth_methods:
  key:
    label: API key
    fields:
      key: {type: text, secret: true, label: API key}
    scheme: {type: api_key, in: header, key: X-API-Key, value: \"{{ key }}\"}
verify: {get: /me}
",
    }
}
