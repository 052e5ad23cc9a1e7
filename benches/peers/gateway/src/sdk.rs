//! Two proxies that read everything: one on the typed Rust SDK, and the `mcp-proxy` crate.

use std::sync::Arc;

use rmcp::model::{CallToolRequestParams, CallToolResponse, ListToolsResult, PaginatedRequestParams, ServerConfig};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpClientTransport, StreamableHttpServerConfig, TokioChildProcess, stdio as pipes};
use rmcp::{ErrorData, RoleClient, RoleServer, ServerHandler, ServiceExt};

/// Every call goes on to one upstream.
#[derive(Clone)]
struct Proxy(Arc<RunningService<RoleClient, ()>>);

impl ServerHandler for Proxy {
    fn get_info(&self) -> ServerConfig {
        let mut config = ServerConfig::default();
        config.capabilities = rmcp::model::ServerCapabilities::builder().enable_tools().build();
        config
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.0.call_tool_once(request).await.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.0.list_tools(request).await.map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }
}

/// In front of a process.
pub async fn stdio() -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["server-stdio", "1"]);
    let upstream = ().serve(TokioChildProcess::new(command)?).await?;
    Proxy(Arc::new(upstream)).serve(pipes()).await?.waiting().await?;
    Ok(())
}

/// In front of a URL.
pub async fn http(url: &str) -> anyhow::Result<()> {
    let upstream = ().serve(StreamableHttpClientTransport::from_uri(url)).await?;
    let proxy = Proxy(Arc::new(upstream));
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    let manager = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(move || Ok(proxy.clone()), manager, config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    use axum::serve::ListenerExt;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, axum::Router::new().fallback_service(service)).await?)
}

/// The crate, as its own program runs it.
pub async fn mcp_proxy(url: &str) -> anyhow::Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let text = format!(
        "[proxy]\nname = \"bench\"\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[backends]]\nname = \"srv\"\ntransport = \"http\"\nurl = \"{url}\"\n"
    );
    let proxy = mcp_proxy::Proxy::from_config(mcp_proxy::ProxyConfig::parse(&text)?).await?;
    println!("http://127.0.0.1:{port}/");
    proxy.serve().await
}
