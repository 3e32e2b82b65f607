//! Envoy with its credential injector and a generic secret.

use std::path::Path;

use super::keeper::{Folder, Server};
use super::{TOKEN, WORKERS};
use crate::Done;

pub fn start(program: &Path, folder: &Folder, port: u16, upstream: u16, sink: u16) -> Done<Server> {
    let file = folder.write("envoy.yaml", &config(port, upstream, sink))?.to_string_lossy().into_owned();
    let workers = WORKERS.to_string();
    let args = ["-c", &file, "--concurrency", &workers, "--disable-hot-restart", "--log-level", "error"];
    Server::start(folder, "envoy", port, "/small", program, &args)
}

fn config(port: u16, upstream: u16, sink: u16) -> String {
    let cluster = |name: &str, port: u16| {
        format!(
            "  - name: {name}
    type: STATIC
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]
"
        )
    };
    format!(
        r#"static_resources:
  secrets:
  - name: credential
    generic_secret: {{secret: {{inline_string: "Bearer {TOKEN}"}}}}
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {{match: {{prefix: /upload}}, route: {{cluster: sink, timeout: 0s}}}}
              - {{match: {{prefix: /}}, route: {{cluster: api, timeout: 0s}}}}
          http_filters:
          - name: envoy.filters.http.credential_injector
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector
              overwrite: true
              credential:
                name: envoy.http.injected_credentials.generic
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic
                  credential: {{name: credential}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
{}{}"#,
        cluster("api", upstream),
        cluster("sink", sink),
    )
}
