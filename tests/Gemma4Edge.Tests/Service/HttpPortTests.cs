using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Gemma4Edge.Runtime;
using Gemma4Edge.Service;
using Gemma4Edge.Service.Http;

namespace Gemma4Edge.Tests.Service;

public sealed class HttpPortTests
{
    private const string Promtool = "/usr/bin/promtool";
    private static readonly HttpClient s_http = new();

    [Fact]
    public async Task Metrics_OfANodeThatAnswers_FollowTheFormat_AndTellWhatHappened()
    {
        int port = Mosquitto.FreePort();
        await using TestNode node = await StartAsync(port);
        await using Outsider outsider = await Outsider.ConnectAsync(node.Port, Outsider.Reply);
        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"hello","reply_to":"{{Outsider.Reply}}"}""");
        await outsider.EventsAsync();
        await outsider.PublishAsync("request", $$"""{"id":"a2","prompt":7,"reply_to":"{{Outsider.Reply}}"}""");
        await outsider.EventsAsync();

        using HttpResponseMessage response = await GetAsync(port, "/metrics");
        Assert.Equal((HttpStatusCode.OK, "text/plain; version=0.0.4; charset=utf-8"), (response.StatusCode, response.Content.Headers.ContentType!.ToString()));
        string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        var page = new PrometheusPage(text);
        Assert.Equal("histogram", page.Types["gen_ai_server_time_to_first_token_seconds"]);
        const string Asked = "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"gemma4edge\",gen_ai_request_model=\"scripted\"";
        const string Answered = $"{Asked},gen_ai_response_model=\"scripted\"";
        Assert.Equal(1, page.Value("gen_ai_server_time_to_first_token_seconds_count", "{" + Answered + "}"));
        Assert.Equal(0, page.Value("gen_ai_server_time_to_first_token_seconds_bucket", "{" + Answered + """,le="0.02"}"""));
        Assert.Equal(1, page.Value("gen_ai_server_time_to_first_token_seconds_bucket", "{" + Answered + """,le="80"}"""));
        Assert.Equal(12, page.Value("gen_ai_client_token_usage_sum", "{" + Answered + """,gen_ai_token_type="input"}"""));
        Assert.Equal(1, page.Value("gen_ai_server_request_duration_seconds_count", "{" + Answered + "}"));
        Assert.Equal(1, page.Value("gen_ai_server_request_duration_seconds_count", "{error_type=\"bad_request\"," + Asked + "}"));
        Assert.Equal(1, page.Value("target_info", $$"""{host_name="{{Environment.MachineName}}",service_instance_id="kitchen",service_name="gemma4edge",service_version="{{NodeInfo.ProgramVersion}}"}"""));
        Assert.Equal(1, page.Value("gemma4edge_requests_total", """{outcome="ok"}"""));
        Assert.Equal(1, page.Value("gemma4edge_requests_total", """{error_type="bad_request",outcome="failed"}"""));
        Assert.Equal(0, page.Value("gemma4edge_queue_length"));
        Assert.InRange(page.Value("gemma4edge_memory_rss_bytes"), 1 << 20, 1L << 40);
        Assert.Equal(123, page.Value("gemma4edge_memory_weights_resident_bytes"));
        Assert.DoesNotContain("ple_resident", text, StringComparison.Ordinal); // this model has no such table
        CheckWithPromtool(text);
    }

    [Fact]
    public void Labels_AndHelp_AreEscaped()
    {
        var metric = new Metric(MetricKind.Gauge, "a.b", "1", "back\\slash and\nline");
        string text = PrometheusText.Write([new(metric, [new([new("x.y", "q\"uote \\ \n")], 0.5, 0, [])])]);
        Assert.Equal("# HELP a_b_ratio back\\\\slash and\\nline\n# TYPE a_b_ratio gauge\na_b_ratio{x_y=\"q\\\"uote \\\\ \\n\"} 0.5\n", text);
        _ = new PrometheusPage(text);
    }

    [Fact]
    public async Task Readyz_SaysWhatIsMissing_WhileHealthzSaysThatTheProcessLives()
    {
        int port = Mosquitto.FreePort();
        using var broker = new Mosquitto();
        await using TestNode node = await StartAsync(port, broker);
        Assert.Equal((HttpStatusCode.OK, """{"ready":true,"model_mapped":true,"self_test":true,"compute":true,"broker":true}"""), await TextAsync(port, "/readyz"));

        broker.Kill();
        await UntilAsync(async () => (await TextAsync(port, "/readyz")).Status == HttpStatusCode.ServiceUnavailable);
        Assert.Equal((HttpStatusCode.ServiceUnavailable, """{"ready":false,"model_mapped":true,"self_test":true,"compute":true,"broker":false}"""), await TextAsync(port, "/readyz"));
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await TextAsync(port, "/healthz"));

        broker.Start();
        await UntilAsync(async () => (await TextAsync(port, "/readyz")).Status == HttpStatusCode.OK);
    }

    [Fact]
    public async Task OnlyThreePathsAreThere_AndTheyAreOnlyRead()
    {
        int port = Mosquitto.FreePort();
        await using TestNode node = await StartAsync(port);
        Assert.Equal(HttpStatusCode.NotFound, (await TextAsync(port, "/")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await TextAsync(port, "/metrics/")).Status);
        using HttpResponseMessage post = await s_http.PostAsync(new Uri($"http://127.0.0.1:{port}/metrics"), new StringContent("x"), TestContext.Current.CancellationToken);
        Assert.Equal((HttpStatusCode.MethodNotAllowed, "GET, HEAD"), (post.StatusCode, string.Join(", ", post.Content.Headers.Allow)));
        using HttpResponseMessage head = await s_http.SendAsync(new HttpRequestMessage(HttpMethod.Head, $"http://127.0.0.1:{port}/healthz"), TestContext.Current.CancellationToken);
        Assert.Equal((HttpStatusCode.OK, 3L), (head.StatusCode, head.Content.Headers.ContentLength));
    }

    [Theory]
    [InlineData("GET /healthz HTTP/1.1\r\nHost: x\r\n")] // the head never ends
    [InlineData("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")] // nothing follows
    public async Task ClientsThatKeepEveryPlace_LoseThem_AndOthersAreServed(string sent)
    {
        int port = Mosquitto.FreePort();
        await using TestNode node = await StartAsync(port);
        List<TcpClient> clients = [];
        for (int i = 0; i < 64; i++)
        {
            clients.Add(new TcpClient("127.0.0.1", port));
            await clients[^1].GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(sent), TestContext.Current.CancellationToken);
        }

        using var http = new HttpClient(); // without connections of before
        long start = Stopwatch.GetTimestamp();
        await UntilAsync(async () =>
        {
            try
            {
                return await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/healthz"), TestContext.Current.CancellationToken) == "ok\n";
            }
            catch (HttpRequestException)
            {
                return false;
            }
        });
        Assert.InRange(Stopwatch.GetElapsedTime(start).TotalSeconds, 0, 25);
        clients.ForEach(client => client.Dispose());
    }

    [Theory]
    [InlineData("[::1]", "[::1]")]
    [InlineData("0.0.0.0", "127.0.0.1")]
    [InlineData("[::]", "127.0.0.1")]
    public async Task AnyAddressOfTheMachine_CanBeListenedOn(string listen, string asked)
    {
        int port = Mosquitto.FreePort();
        await using TestNode node = await TestNode.StartAsync(change: options => options with { Http = new HttpOptions { Enabled = true, Listen = $"{listen}:{port}" } });
        Assert.Equal("ok\n", await s_http.GetStringAsync(new Uri($"http://{asked}:{port}/healthz"), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task PortInUse_IsOneSentenceAtTheStart()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        int port = ((IPEndPoint)other.LocalEndpoint).Port;
        ConfigurationException e = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(port));
        Assert.StartsWith($"Http:Listen is '127.0.0.1:{port}', where nobody can listen: ", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutConfiguration_NothingListens()
    {
        await using TestNode node = await TestNode.StartAsync();
        Assert.False(node.Options.Http.Enabled);
        Assert.Equal("127.0.0.1:8420", node.Options.Http.Listen);
    }

    private static Task<TestNode> StartAsync(int port, Mosquitto? broker = null) =>
        TestNode.StartAsync(broker, change: options => options with { Http = new HttpOptions { Enabled = true, Listen = $"127.0.0.1:{port}" } });

    private static Task<HttpResponseMessage> GetAsync(int port, string path) => s_http.GetAsync(new Uri($"http://127.0.0.1:{port}{path}"), TestContext.Current.CancellationToken);

    private static async Task<(HttpStatusCode Status, string Text)> TextAsync(int port, string path)
    {
        using HttpResponseMessage response = await GetAsync(port, path);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    private static async Task UntilAsync(Func<Task<bool>> isSo)
    {
        for (long start = Stopwatch.GetTimestamp(); !await isSo(); await Task.Delay(20, TestContext.Current.CancellationToken))
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(30), "It did not come to be within 30 s.");
        }
    }

    /// <summary>Prometheus's own checker, where Debian's package prometheus is installed.</summary>
    private static void CheckWithPromtool(string text)
    {
        if (!File.Exists(Promtool))
        {
            return;
        }

        using var process = Process.Start(new ProcessStartInfo(Promtool, ["check", "metrics"]) { RedirectStandardInput = true, RedirectStandardError = true, RedirectStandardOutput = true })!;
        process.StandardInput.Write(text);
        process.StandardInput.Close();
        string said = process.StandardError.ReadToEnd() + process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, said);
    }
}
