using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Gemma4Edge.Runtime;
using Google.Protobuf;

namespace Gemma4Edge.Tests.Service;

/// <summary>A process with OpenTelemetry's variables set, and a collector that reads what it sends by the protocol's field numbers.</summary>
public sealed class OtlpExportTests
{
    private static readonly HashSet<string> s_expected = [MetricTable.TimeToFirstToken.Name, MetricTable.Requests.Name, MetricTable.DecodeRate.Name, MetricTable.Rss.Name];

    [Theory]
    [InlineData("OTEL_EXPORTER_OTLP_", "")]
    [InlineData("OTEL_EXPORTER_OTLP_METRICS_", "/v1/metrics")]
    public async Task Collector_GetsTheNamesAndUnitsOfTheTable_AndWhoseTheyAre(string prefix, string path)
    {
        using var collector = new TcpListener(IPAddress.Loopback, 0);
        collector.Start();
        int port = ((IPEndPoint)collector.LocalEndpoint).Port;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        var collected = new Collected();
        Task collecting = CollectAsync(collector, collected, patience.Token);
        int mqtt = Mosquitto.FreePort();
        using var serve = new ServeProcess(
            $$"""{"Mqtt":{"Node":"kitchen","Broker":"embedded","EmbeddedPort":{{mqtt}} } }""",
            ($"{prefix}ENDPOINT", $"http://127.0.0.1:{port}{path}"),
            ($"{prefix}PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.version=of-the-environment"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"));
        await using Outsider outsider = await ConnectAsync(mqtt, patience.Token);
        await outsider.PublishAsync("request", $$"""{"id":"a1","prompt":"hello","reply_to":"{{Outsider.Reply}}"}""");
        Assert.Equal("done", (await outsider.EventsAsync())[^1].GetProperty("type").GetString());

        while (!s_expected.IsSubsetOf(collected.Units.Keys))
        {
            Assert.False(collecting.IsFaulted, collecting.Exception?.ToString());
            await Task.Delay(50, patience.Token);
        }

        Dictionary<string, string> units = new(collected.Units);
        Dictionary<string, string> table = MetricTable.All.ToDictionary(metric => metric.Name, metric => metric.Unit);
        Assert.All(units, pair => Assert.Equal(table[pair.Key], pair.Value));
        Assert.DoesNotContain(MetricTable.Throttled.Name, units.Keys); // this machine has no such firmware
        Assert.Equal(
            [("host.name", Environment.MachineName), ("service.instance.id", "kitchen"), ("service.name", "gemma4edge"), ("service.version", "of-the-environment")],
            collected.Resource.Where(pair => !pair.Key.StartsWith("telemetry.sdk.", StringComparison.Ordinal)).Select(pair => (pair.Key, pair.Value)).Order());
        Assert.Equal(
            [("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "gemma4edge"), ("gen_ai.request.model", "demo-model"), ("gen_ai.response.model", "demo-model")],
            collected.FirstTokenTags.Select(pair => (pair.Key, pair.Value)).Order());
    }

    [Fact]
    public async Task CollectorThatGoesAndComesBack_IsLoggedTwice()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        int port = Mosquitto.FreePort();
        using var serve = new ServeProcess(
            $$"""{"Mqtt":{"EmbeddedPort":{{Mosquitto.FreePort()}} } }""",
            ("OTEL_EXPORTER_OTLP_ENDPOINT", $"http://127.0.0.1:{port}"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"));
        var name = $"The collector http://127.0.0.1:{port} (OTEL_EXPORTER_OTLP_ENDPOINT)";
        await serve.LoggedAsync($"{name} does not take the metrics: Connection refused", patience.Token);

        using var collector = new TcpListener(IPAddress.Loopback, port);
        collector.Start();
        _ = CollectAsync(collector, new Collected(), patience.Token);
        await serve.LoggedAsync($"{name} takes the metrics again", patience.Token);
    }

    [Fact]
    public async Task CollectorThatSpeaksGrpc_IsUnderstoodByItsStatus()
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        int port = Mosquitto.FreePort();
        using var collector = new GrpcCollector(port) { Status = "14" };
        await collector.StartAsync(patience.Token);
        using var serve = new ServeProcess(
            $$"""{"Mqtt":{"EmbeddedPort":{{Mosquitto.FreePort()}} } }""",
            ("OTEL_EXPORTER_OTLP_ENDPOINT", $"http://127.0.0.1:{port}"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"));
        await serve.LoggedAsync($"(OTEL_EXPORTER_OTLP_ENDPOINT) does not take the metrics: it answered with gRPC status 14 {GrpcCollector.Message}", patience.Token);
        collector.Status = "0";
        await serve.LoggedAsync("takes the metrics again", patience.Token);
        Assert.Equal("/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", collector.Path);
    }

    [Theory]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage", "the URL of an OpenTelemetry collector")]
    [InlineData("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://collector", "the URL of an OpenTelemetry collector")]
    [InlineData("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf")]
    public async Task WrongVariable_IsRefusedAtTheStart(string name, string value, string expected)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        using var serve = new ServeProcess($$"""{"Mqtt":{"EmbeddedPort":{{Mosquitto.FreePort()}} } }""", (name, value));
        await serve.LoggedAsync($"{name} (from environment) is '{value}'; expected {expected}", patience.Token);
        Assert.Equal(2, await serve.ExitAsync(patience.Token));
    }

    [Theory]
    [InlineData("grpc")]
    [InlineData("http/protobuf")]
    public async Task MissingCollector_IsWarnedOf_AndTheNodeWorks(string protocol)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        int mqtt = Mosquitto.FreePort();
        var nobody = $"http://127.0.0.1:{Mosquitto.FreePort()}";
        using var serve = new ServeProcess(
            $$"""{"Mqtt":{"Node":"kitchen","EmbeddedPort":{{mqtt}} } }""", ("OTEL_EXPORTER_OTLP_ENDPOINT", nobody), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        await using Outsider outsider = await ConnectAsync(mqtt, patience.Token);
        await serve.LoggedAsync($"The collector {nobody} (OTEL_EXPORTER_OTLP_ENDPOINT) does not take the metrics: Connection refused", patience.Token);
    }

    private static async Task<Outsider> ConnectAsync(int port, CancellationToken patience)
    {
        while (true)
        {
            try
            {
                Outsider outsider = await Outsider.ConnectAsync(port, "gemma4edge/kitchen/availability", Outsider.Reply);
                await outsider.NextAsync("availability", text => text == "online");
                return outsider;
            }
            catch (MQTTnet.Exceptions.MqttCommunicationException)
            {
                await Task.Delay(50, patience);
            }
        }
    }

    /// <summary>Takes one POST a connection.</summary>
    private static async Task CollectAsync(TcpListener collector, Collected collected, CancellationToken patience)
    {
        while (true)
        {
            using TcpClient client = await collector.AcceptTcpClientAsync(patience);
            NetworkStream stream = client.GetStream();
            var head = new StringBuilder();
            byte[] one = new byte[1];
            while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
            {
                await stream.ReadExactlyAsync(one, patience);
                head.Append((char)one[0]);
            }

            string[] lines = head.ToString().Split("\r\n");
            byte[] body = new byte[int.Parse(lines.Single(line => line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)).Split(':')[1], CultureInfo.InvariantCulture)];
            await stream.ReadExactlyAsync(body, patience);
            string status = lines[0].StartsWith("POST /v1/metrics ", StringComparison.Ordinal) ? "200 OK" : "404 Not Found";
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), patience);
            foreach (byte[] resource in Field(body, 1)) // ResourceMetrics
            {
                collected.Resource = Field(resource, 1).SelectMany(described => Pairs(described, 1)).ToDictionary();
                foreach (byte[] metric in Field(resource, 2).SelectMany(scope => Field(scope, 2))) // ScopeMetrics → Metric
                {
                    string name = Text(Field(metric, 1));
                    collected.FirstTokenTags = name == MetricTable.TimeToFirstToken.Name
                        ? Field(metric, 9).SelectMany(histogram => Field(histogram, 1)).SelectMany(point => Pairs(point, 9)).ToDictionary()
                        : collected.FirstTokenTags;
                    collected.Units[name] = Text(Field(metric, 3));
                }
            }
        }

        static IEnumerable<KeyValuePair<string, string>> Pairs(byte[] message, int number) =>
            Field(message, number).Select(pair => KeyValuePair.Create(Text(Field(pair, 1)), Text(Field(Field(pair, 2)[0], 1)))); // KeyValue: key, AnyValue.string_value
    }

    /// <summary>The length-delimited values of one field of a message.</summary>
    private static List<byte[]> Field(byte[] message, int number)
    {
        List<byte[]> values = [];
        var input = new CodedInputStream(message);
        for (uint tag = input.ReadTag(); tag != 0; tag = input.ReadTag())
        {
            if (WireFormat.GetTagFieldNumber(tag) == number && WireFormat.GetTagWireType(tag) == WireFormat.WireType.LengthDelimited)
            {
                values.Add(input.ReadBytes().ToByteArray());
            }
            else
            {
                input.SkipLastField();
            }
        }

        return values;
    }

    private static string Text(List<byte[]> values) => values.Count == 0 ? "" : Encoding.UTF8.GetString(values[0]);

    private sealed class Collected
    {
        public ConcurrentDictionary<string, string> Units { get; } = [];

        public Dictionary<string, string> Resource { get; set; } = [];

        public Dictionary<string, string> FirstTokenTags { get; set; } = [];
    }
}
