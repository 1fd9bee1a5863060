using System.Diagnostics;
using System.Globalization;
using Gemma4Edge.Service;

namespace Gemma4Edge.Tests.Service.Durability;

/// <summary>A node with a scripted model in a process of its own, which can be killed.</summary>
internal sealed class NodeProcess : IDisposable
{
    private const string BrokerPort = "GEMMA4EDGE_TEST_BROKER_PORT";
    private const string EmbeddedPort = "GEMMA4EDGE_TEST_EMBEDDED_PORT";
    private const string State = "GEMMA4EDGE_TEST_STATE";
    private const string Acts = "GEMMA4EDGE_TEST_ACTS";
    private readonly Process _process;

    private NodeProcess(Process process) => _process = process;

    public int Id => _process.Id;

    /// <summary>Starts it; it is online when its availability says so.</summary>
    /// <param name="brokerPort">Port of a broker on loopback; null = the embedded one, on <paramref name="embeddedPort"/>.</param>
    /// <param name="embeddedPort">Port of the embedded broker.</param>
    /// <param name="state">Its state directory.</param>
    /// <param name="acts">The file that its tools write to.</param>
    public static NodeProcess Start(int? brokerPort, int embeddedPort, string state, string acts)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "Gemma4Edge.Tests");
        var start = new ProcessStartInfo(program, ["-noLogo", "-noColor", "-explicit", "only", "-method", $"{typeof(NodeProcessEntry).FullName}.Run"])
        {
            RedirectStandardOutput = true,
            Environment =
            {
                [BrokerPort] = brokerPort?.ToString(CultureInfo.InvariantCulture) ?? "",
                [EmbeddedPort] = embeddedPort.ToString(CultureInfo.InvariantCulture),
                [State] = state,
                [Acts] = acts,
            },
        };
        var process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        return new NodeProcess(process);
    }

    /// <summary>Memory of its own, in bytes.</summary>
    public long AnonymousBytes() => 1024 * long.Parse(
        File.ReadLines($"/proc/{Id}/status").Single(line => line.StartsWith("RssAnon:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);

    /// <summary>SIGKILL, as a power cut or the kernel's out-of-memory killer would do it.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    /// <summary>Ends when the process has ended of itself.</summary>
    public Task ExitedAsync() => _process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);

    public void Dispose()
    {
        Kill();
        _process.Dispose();
    }

    /// <summary>The process's inside.</summary>
    internal static async Task RunAsync()
    {
        string brokerPort = Environment.GetEnvironmentVariable(BrokerPort)!;
        var model = new ScriptedModel { ActsFile = Environment.GetEnvironmentVariable(Acts), WordTime = TimeSpan.FromMilliseconds(5) };
        await using TestNode node = await TestNode.StartAsync(model: model, change: options => options with
        {
            Mqtt = options.Mqtt with
            {
                Broker = brokerPort.Length > 0 ? $"mqtt://127.0.0.1:{brokerPort}" : MqttOptions.Embedded,
                EmbeddedPort = int.Parse(Environment.GetEnvironmentVariable(EmbeddedPort)!, CultureInfo.InvariantCulture),
            },
            Store = new StoreOptions { State = Environment.GetEnvironmentVariable(State) },
        });
        await Task.Delay(Timeout.Infinite, TestContext.Current.CancellationToken);
    }
}

/// <summary>Where the process begins: the test program, told to run this one method.</summary>
public class NodeProcessEntry
{
    [Fact(Explicit = true)]
    public Task Run() => NodeProcess.RunAsync();
}
