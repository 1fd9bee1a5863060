using MQTTnet.Adapter;
using MQTTnet.Diagnostics.Logger;
using MQTTnet.Formatter;
using MQTTnet.Packets;
using MQTTnet.Server;
using MQTTnet.Server.Internal.Adapter;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>The embedded broker's TCP listener, which gives a name to MQTT 3.1.1 clients that bring none: the standard lets them, mosquitto_pub does, MQTTnet's server refuses.</summary>
internal sealed class NamingServerAdapter : IMqttServerAdapter
{
    private readonly MqttTcpServerAdapter _tcp = new();

    /// <summary>A name that no other client has.</summary>
    public static string NewClientId => $"auto-{Guid.NewGuid():N}";

    /// <inheritdoc/>
    public Func<IMqttChannelAdapter, Task>? ClientHandler { get; set; }

    /// <inheritdoc/>
    public Task StartAsync(MqttServerOptions options, IMqttNetLogger logger)
    {
        _tcp.ClientHandler = channel => ClientHandler is { } handle ? handle(new WatchedChannel(channel, packet => Name(packet, channel))) : Task.CompletedTask;
        return _tcp.StartAsync(options, logger);
    }

    /// <inheritdoc/>
    public Task StopAsync() => _tcp.StopAsync();

    /// <inheritdoc/>
    public void Dispose() => _tcp.Dispose();

    private static void Name(MqttPacket packet, IMqttChannelAdapter channel)
    {
        if (packet is MqttConnectPacket { CleanSession: true } connect && string.IsNullOrEmpty(connect.ClientId) && channel.PacketFormatterAdapter.ProtocolVersion != MqttProtocolVersion.V500)
        {
            connect.ClientId = NewClientId;
        }
    }
}
