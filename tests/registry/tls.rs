//! TLS: private authorities, and a registry on loopback that speaks it.

use std::env;
use std::path::Path;
use std::process::Command;

use support::parts::{self, skip};
use support::process::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Passes the registry's name to the process that the test starts: environment variables are read once, when a client
/// is made.
const HOST: &str = "PV_TEST_TLS_HOST";

/// A distribution registry with a certificate from its own authority, which is in `ca.pem` in the folder.
async fn registry(folder: &Path) -> Option<(Process, String)> {
    let Some(program) = parts::registry() else {
        skip("no docker-registry");
        return None;
    };
    if !certify(folder) {
        skip("no openssl");
        return None;
    }
    let config = format!(
        "version: 0.1\nstorage:\n  inmemory: {{}}\nhttp:\n  addr: 127.0.0.1:0\n  tls:\n    certificate: {0}/server.pem\n    key: {0}/server.key\n",
        folder.display()
    );
    std::fs::write(folder.join("config.yml"), config).unwrap();
    let mut command = Command::new(program);
    let mut process = Process::spawn(command.arg("serve").arg(folder.join("config.yml")));
    let listening = |log: &str| {
        let after = log.split_once("listening on ")?.1;
        Some(after[..after.find([',', '"'])?].to_owned())
    };
    let host = process.wait_for("its address", listening).await;
    Some((process, host))
}

/// Makes an authority and a certificate for 127.0.0.1; false if there is no `openssl`.
fn certify(folder: &Path) -> bool {
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let commands = [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=registry"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem"
            .to_owned(),
    ];
    commands.iter().all(|arguments| {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        done.is_ok_and(|output| output.status.success())
    })
}

/// A port that serves TLS by passing it on to `registry`, and redirects plain HTTP to TLS, as many proxies before
/// registries do.
async fn redirecting(registry: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (host, registry) = (listener.local_addr().unwrap().to_string(), registry.to_owned());
    let authority = host.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (registry, authority) = (registry.clone(), authority.clone());
            tokio::spawn(async move {
                let mut first = [0];
                // A TLS connection begins with a handshake record.
                if client.peek(&mut first).await.is_ok() && first == [22] {
                    let mut registry = TcpStream::connect(registry).await.unwrap();
                    return drop(tokio::io::copy_bidirectional(&mut client, &mut registry).await);
                }
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let answer = format!(
                    "HTTP/1.1 301 Moved\r\nlocation: https://{authority}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let _ = client.write_all(answer.as_bytes()).await;
            });
        }
    });
    host
}

#[tokio::test]
async fn a_private_authority_is_trusted_through_ssl_cert_file_and_only_then() {
    if let Ok(host) = env::var(HOST) {
        return push_and_pull(&host).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some((_process, host)) = registry(folder.path()).await else { return };

    let error = Client::new().registries.check_push(&repository(&host, "a/b")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Untrusted { .. }), "{error:?}");
    assert!(said(error).contains("hint: set `SSL_CERT_FILE`"));

    for host in [&host, &redirecting(&host).await] {
        // Nothing listens on the proxy's address: requests to loopback must bypass it.
        let child = tokio::process::Command::new(env::current_exe().unwrap())
            .args(["--exact", "tls::a_private_authority_is_trusted_through_ssl_cert_file_and_only_then", "--nocapture"])
            .env("SSL_CERT_FILE", folder.path().join("ca.pem"))
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env(HOST, host)
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8_lossy(&[child.stdout, child.stderr].concat()).into_owned();
        assert!(child.status.success() && printed.contains("1 passed"), "{printed}");
    }
}

/// The part of the test that runs in a process of its own, with `SSL_CERT_FILE` set.
async fn push_and_pull(host: &str) {
    let to = repository(host, "acme/tool");
    let (client, image) = (Client::new(), Image::new(1));
    image.push(&client.registries, &to).await.unwrap();
    let pulled = client.registries.resolve(&to.tagged("latest".parse().unwrap())).await.unwrap();
    assert_eq!(pulled.document.bytes(), image.manifest.bytes());
    assert_eq!(client.registries.retried(), 0, "the first request finds out that it is TLS");
}
