using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Hosting;
using MQTTnet.Packets;
using MQTTnet.Protocol;
using MQTTnet.Server;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>A broker in this process, reachable from this machine only unless another address is configured. Its sessions and retained messages end with it.</summary>
internal sealed class EmbeddedBroker : IHostedService, IDisposable
{
    private const string PacketId = "packet";
    private const int MaxPendingMessagesPerClient = 4096;
    private readonly MqttOptions _options;
    private readonly Func<InboundMessage, Task> _received;
    private readonly string _instance;
    private readonly string? _password;
    private readonly MqttServer _server;

    /// <param name="options">Where it listens, and for whom.</param>
    /// <param name="received">Takes every message that a client publishes, before the sender is answered; the answer waits for the task.</param>
    /// <param name="instance">Who may connect as the node itself; what is sent to the node is taken here, and must not be taken by a second one.</param>
    /// <exception cref="ConfigurationException">The password's file cannot be used.</exception>
    public EmbeddedBroker(MqttOptions options, Func<InboundMessage, Task> received, string instance)
    {
        _options = options;
        _received = received;
        _instance = instance;
        _password = BrokerLogin.Read(options.Address, options.Credentials).Password;
        var address = IPAddress.Parse(options.EmbeddedAddress);
        bool isV6 = address.AddressFamily == AddressFamily.InterNetworkV6;
        _server = new MqttServerFactory().CreateMqttServer(
            new MqttServerOptionsBuilder()
                .WithDefaultEndpoint()
                .WithDefaultEndpointBoundIPAddress(isV6 ? IPAddress.None : address)
                .WithDefaultEndpointBoundIPV6Address(isV6 ? address : IPAddress.None)
                .WithDefaultEndpointPort(options.EmbeddedPort)
                .WithPersistentSessions()
                .WithMaxPendingMessagesPerClient(MaxPendingMessagesPerClient)
                .Build(),
            [new NamingServerAdapter()]);
    }

    /// <inheritdoc/>
    /// <exception cref="BrokerUnavailableException">The port is in use.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        _server.ValidatingConnectionAsync += e =>
        {
            // MQTT 5 lets a client leave its name to the broker, which tells it; this one would refuse it
            e.AssignedClientIdentifier = string.IsNullOrEmpty(e.ClientId) ? NamingServerAdapter.NewClientId : null;
            bool isOther = e.ClientId == MqttConnection.ClientIdOf(_options.Node)
                && e.UserProperties?.Any(property => property.Name == MqttConnection.InstanceProperty && property.ReadValueAsString() == _instance) != true;
            e.ReasonCode = !IsKnown(e.UserName, e.Password) ? MqttConnectReasonCode.BadUserNameOrPassword
                : isOther ? MqttConnectReasonCode.ClientIdentifierNotValid
                : MqttConnectReasonCode.Success;
            e.ReasonString = isOther ? $"(this broker is part of node '{_options.Node}': give the other one another name, Mqtt:Node)" : null;
            return Task.CompletedTask;
        };
        _server.InterceptingInboundPacketAsync += e =>
        {
            if (e.Packet is MqttPublishPacket publish)
            {
                e.SessionItems[PacketId] = publish.PacketIdentifier; // the next interceptor is not told; one client's packets come one after the other
            }

            return Task.CompletedTask;
        };
        _server.InterceptingPublishAsync += e => SubscriptionProbe.IsProbe(e.ApplicationMessage) ? Task.CompletedTask : _received(InboundMessage.From(
            e.ApplicationMessage, e.SessionItems[PacketId] is ushort packet ? packet : default, sender: e.ClientId));
        try
        {
            await _server.StartAsync().ConfigureAwait(false);
        }
        catch (SocketException e)
        {
            throw new BrokerUnavailableException(
                _options.Address.ToString(), $"the embedded broker cannot listen there: {e.Message}", "Choose another Mqtt:EmbeddedPort, or name the broker that runs there in Mqtt:Broker.", e);
        }
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => _server.IsStarted ? _server.StopAsync(new MqttServerStopOptions()) : Task.CompletedTask;

    /// <inheritdoc/>
    public void Dispose() => _server.Dispose();

    private bool IsKnown(string? user, string? password) => _password is null
        || (user == _options.User && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(password ?? ""), Encoding.UTF8.GetBytes(_password)));
}
