using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Hosting;
using MQTTnet.Server;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>A broker in this process, reachable from this machine only. Its sessions and retained messages end with it.</summary>
internal sealed class EmbeddedBroker(BrokerAddress address) : IHostedService, IDisposable
{
    private const int MaxPendingMessagesPerClient = 4096;

    private readonly MqttServer _server = new MqttServerFactory().CreateMqttServer(new MqttServerOptionsBuilder()
        .WithDefaultEndpoint()
        .WithDefaultEndpointBoundIPAddress(IPAddress.Loopback)
        .WithDefaultEndpointBoundIPV6Address(IPAddress.None)
        .WithDefaultEndpointPort(address.Port)
        .WithPersistentSessions()
        .WithMaxPendingMessagesPerClient(MaxPendingMessagesPerClient)
        .Build(), [new NamingServerAdapter()]);

    /// <inheritdoc/>
    /// <exception cref="BrokerUnavailableException">The port is in use.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        // MQTT 5 lets a client leave its name to the broker, which tells it; this one would refuse it
        _server.ValidatingConnectionAsync += e =>
        {
            e.AssignedClientIdentifier = string.IsNullOrEmpty(e.ClientId) ? NamingServerAdapter.NewClientId : null;
            return Task.CompletedTask;
        };
        try
        {
            await _server.StartAsync().ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw new BrokerUnavailableException(
                address.ToString(), $"the embedded broker cannot listen there: {e.Message}", "Choose another Mqtt:EmbeddedPort, or use the broker that runs there with --broker.", e);
        }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => _server.IsStarted ? _server.StopAsync(new MqttServerStopOptions()) : Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _server.Dispose();
}
