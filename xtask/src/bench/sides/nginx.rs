//! nginx twice: as the upstream of all, and as the proxy that others are compared with.

use std::fs;
use std::path::Path;

use super::keeper::{Folder, Server};
use super::{TOKEN, WORKERS};
use crate::Done;

pub const SMALL: usize = 200;
pub const MIDDLE: usize = 64 * 1024;
pub const LARGE: usize = 10 * 1024 * 1024;

/// `user` matters only where the run is root's: the workers must reach its folder.
fn config(folder: &str, workers: usize, http: &str) -> String {
    format!(
        "user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
{http}
}}
"
    )
}

fn start(
    program: &Path,
    folder: &Folder,
    name: &str,
    port: u16,
    http: impl FnOnce(&str) -> Done<String>,
) -> Done<Server> {
    let own = folder.path(name);
    fs::create_dir(&own).map_err(|e| format!("{}: {e}", own.display()))?;
    let own = own.to_string_lossy().into_owned();
    let text = config(&own, WORKERS, &http(&own)?);
    let file = folder.write(&format!("{name}/nginx.conf"), &text)?.to_string_lossy().into_owned();
    Server::start(folder, name, port, "/small", program, &["-p", &own, "-e", "stderr", "-c", &file])
}

/// Fixed bodies, and a token endpoint that always gives the same hour-long token.
pub fn upstream(program: &Path, folder: &Folder, port: u16) -> Done<Server> {
    start(program, folder, "upstream", port, |own| {
        for (name, length) in [("middle", MIDDLE), ("large", LARGE)] {
            fs::write(format!("{own}/{name}"), body(length)).map_err(|e| format!("{own}/{name}: {e}"))?;
        }
        let small = String::from_utf8_lossy(&body(SMALL)).into_owned();
        Ok(format!(
            "    default_type application/json;
    open_file_cache max=16;
    server {{
        listen 127.0.0.1:{port} reuseport;
        root {own};
        location = /small {{ return 200 '{small}'; }}
        location = /token {{ return 200 '{{\"access_token\":\"{TOKEN}\",\"token_type\":\"Bearer\",\"expires_in\":86400}}'; }}
    }}"
        ))
    })
}

/// Adds the header, keeps connections to the upstream, streams bodies both ways.
pub fn proxy(program: &Path, folder: &Folder, port: u16, upstream: u16, sink: u16) -> Done<Server> {
    start(program, folder, "nginx", port, |_| {
        Ok(format!(
            "    upstream api {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
    upstream sink {{ server 127.0.0.1:{sink}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Authorization \"Bearer {TOKEN}\";
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{ proxy_pass http://api; }}
        location /upload {{ proxy_pass http://sink; }}
    }}"
        ))
    })
}

/// JSON text, so that what looks at text has to look.
fn body(length: usize) -> Vec<u8> {
    const OPEN: &str = "{\"items\":[";
    const ITEM: &str = "{\"id\":184467,\"name\":\"an item of the list\",\"active\":true},";
    const CLOSE: &str = "{}]}";
    let mut text = OPEN.to_owned();
    while text.len() + ITEM.len() + CLOSE.len() <= length {
        text.push_str(ITEM);
    }
    text.push_str(&" ".repeat(length.saturating_sub(text.len() + CLOSE.len())));
    text.push_str(CLOSE);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_length_they_say() {
        for length in [SMALL, MIDDLE, LARGE] {
            let body = body(length);
            assert_eq!(body.len(), length);
            assert!(body.starts_with(b"{\"items\":[") && body.ends_with(b"{}]}"));
        }
    }
}
