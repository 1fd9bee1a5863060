using Gemma4Edge.Service;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace Gemma4Edge.Tests.Service;

/// <summary>A node with a scripted model, on the embedded broker or a Mosquitto.</summary>
internal sealed class TestNode : IAsyncDisposable
{
    private TestNode(ServiceOptions options, ScriptedModel model, ServiceHost host)
    {
        Options = options;
        Model = model;
        Host = host;
    }

    public ServiceOptions Options { get; }

    public ScriptedModel Model { get; }

    public ServiceHost Host { get; }

    public int Port => Options.Mqtt.Address.Port;

    public static async Task<TestNode> StartAsync(Mosquitto? broker = null, int capacity = 16, Func<ServiceOptions, ServiceOptions>? change = null, ISystemdNotifier? systemd = null, TimeSpan pace = default, ScriptedModel? model = null)
    {
        var options = new ServiceOptions
        {
            Model = new ModelOptions { Path = "none" },
            Mqtt = new MqttOptions { Node = "kitchen", EmbeddedPort = Mosquitto.FreePort(), Broker = broker is null ? MqttOptions.Embedded : $"mqtt://127.0.0.1:{broker.Port}" },
            Queue = new QueueOptions { Capacity = capacity },
        };
        options = change?.Invoke(options) ?? options;
        model ??= new ScriptedModel(capacity) { Pace = pace };
        var host = ServiceHost.Build(options, model.Served, model.Start, model.Stop, model.Completion, LogLevel.None, systemd);
        await host.StartAsync(TestContext.Current.CancellationToken);
        return new TestNode(options, model, host);
    }

    public async ValueTask DisposeAsync()
    {
        await Host.StopAsync(CancellationToken.None);
        await Host.DisposeAsync();
        Model.Dispose();
    }
}
