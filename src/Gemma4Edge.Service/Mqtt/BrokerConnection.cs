using System.Net.Sockets;
using System.Security.Authentication;
using MQTTnet;
using MQTTnet.Adapter;
using MQTTnet.Diagnostics.Logger;
using MQTTnet.Diagnostics.PacketInspection;
using MQTTnet.Exceptions;
using MQTTnet.Formatter;
using MQTTnet.Implementations;
using MQTTnet.Packets;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What the node's and the prompt client's connections have in common.</summary>
internal static class BrokerConnection
{
    /// <summary>Larger packets are not delivered: beyond this even the refusal would cost too much memory.</summary>
    private const uint MaximumPacketBytes = 4 << 20;

    /// <summary>Deliveries that the broker may have under way at once.</summary>
    private const ushort ReceiveMaximum = 32;

    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    /// <summary>A client that keeps to the broker's keep-alive where that is shorter: MQTTnet 5.2 reads it and goes on with its own.</summary>
    public static IMqttClient NewClient() => new MqttClientFactory().CreateMqttClient(new KeepAliveAdapters());

    /// <summary>Options of an MQTT 5 connection.</summary>
    /// <exception cref="ConfigurationException">A file of the credentials cannot be used.</exception>
    public static MqttClientOptionsBuilder Options(BrokerAddress address, string clientId, BrokerCredentials credentials)
    {
        MqttClientOptionsBuilder builder = new MqttClientOptionsBuilder()
            .WithTcpServer(address.Host, address.Port)
            .WithProtocolVersion(MqttProtocolVersion.V500)
            .WithClientId(clientId)
            .WithTimeout(s_timeout)
            .WithKeepAlivePeriod(TimeSpan.FromSeconds(15))
            .WithReceiveMaximum(ReceiveMaximum)
            .WithMaximumPacketSize(MaximumPacketBytes);
        BrokerLogin.Read(address, credentials).AddTo(builder);
        return builder;
    }

    /// <summary>Connects.</summary>
    /// <returns>What the broker said to it.</returns>
    /// <exception cref="BrokerUnavailableException">Nobody listens there, or answers in time, or the broker refuses.</exception>
    public static async Task<MqttClientConnectResult> ConnectAsync(IMqttClient client, BrokerAddress address, MqttClientOptions options, CancellationToken cancellation)
    {
        string reason;
        string? user = options.Credentials?.GetUserName(options);
        string check = user is null ? "" : $", and the password of user '{user}'"; // a refusal may get lost: Mosquitto closes at once after it
        string hint = $"Check that the broker runs there{check}.";
        bool isRefusal = true;
        Exception? cause = null;
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(options.Timeout); // the library keeps to its timeout only where it is given no token
        try
        {
            MqttClientConnectResult result = await client.ConnectAsync(options, patience.Token).ConfigureAwait(false);
            if (result.ResultCode == MqttClientConnectResultCode.Success)
            {
                return result;
            }

            reason = $"it refuses the connection: {result.ResultCode} {result.ReasonString}".TrimEnd();
            isRefusal = !IsTooBusy(result.ResultCode);
            hint = result.ResultCode switch
            {
                MqttClientConnectResultCode.NotAuthorized or MqttClientConnectResultCode.BadUserNameOrPassword => user is not null
                    ? $"Check the password of user '{user}', and that the broker knows that user."
                    : "It wants a user and a password, or a certificate: give them.",
                MqttClientConnectResultCode.RetainNotSupported => "A node needs retained messages; in mosquitto.conf: retain_available true.",
                MqttClientConnectResultCode.QoSNotSupported => "A node needs QoS 1; in mosquitto.conf: max_qos 1, or 2.",
                MqttClientConnectResultCode.ClientIdentifierNotValid => "Its log says what it has against the name.",
                var code when IsTooBusy(code) => "It has too much to do: try again later.",
                _ => hint,
            };
        }
        catch (Exception e) when (IsNetworkFailure(e, cancellation))
        {
            cancellation.ThrowIfCancellationRequested(); // then the failure is ours
            Exception root = e.GetBaseException();
            reason = patience.IsCancellationRequested ? FormattableString.Invariant($"it has not answered within {options.Timeout.TotalSeconds:0} s") : root.Message;
            (hint, cause) = ((root as CertificateRefusedException)?.Hint ?? hint, e);
            isRefusal = root is CertificateRefusedException;
        }

        throw new BrokerUnavailableException(address.ToString(), reason, hint, cause) { IsRefusal = isRefusal };
    }

    private static bool IsTooBusy(MqttClientConnectResultCode code) => code is MqttClientConnectResultCode.ServerBusy or MqttClientConnectResultCode.ServerUnavailable
        or MqttClientConnectResultCode.QuotaExceeded or MqttClientConnectResultCode.ConnectionRateExceeded;

    /// <summary>Whether an exception tells that the connection is bad, not that the program is.</summary>
    /// <remarks>The client library throws InvalidOperationException when it is called while an earlier connect or disconnect is still under way.</remarks>
    public static bool IsNetworkFailure(Exception e, CancellationToken cancellation) =>
        e is MqttCommunicationException or SocketException or IOException or TimeoutException or MqttProtocolViolationException or AuthenticationException or InvalidOperationException
        || (e is OperationCanceledException && !cancellation.IsCancellationRequested);

    /// <summary>Whether the broker ended the connection on purpose and said why: coming back at once would end in the same way.</summary>
    public static bool IsThrownOut(MqttClientDisconnectedEventArgs e) => e.Reason is not (
        MqttClientDisconnectReason.NormalDisconnection or MqttClientDisconnectReason.UnspecifiedError or MqttClientDisconnectReason.ServerShuttingDown
        or MqttClientDisconnectReason.ServerBusy or MqttClientDisconnectReason.KeepAliveTimeout);

    /// <summary>Whether the broker ended a connection for something that was sent on it.</summary>
    public static bool IsFaultOfAPacket(MqttClientDisconnectReason reason) => reason is
        MqttClientDisconnectReason.ProtocolError or MqttClientDisconnectReason.MalformedPacket or MqttClientDisconnectReason.PacketTooLarge
        or MqttClientDisconnectReason.TopicNameInvalid or MqttClientDisconnectReason.PayloadFormatInvalid or MqttClientDisconnectReason.ImplementationSpecificError;

    private sealed class KeepAliveAdapters : IMqttClientAdapterFactory
    {
        public IMqttChannelAdapter CreateClientAdapter(MqttClientOptions options, MqttPacketInspector packetInspector, IMqttNetLogger logger) => new WatchedChannel(
            new MqttClientAdapterFactory().CreateClientAdapter(options, packetInspector, logger),
            packet =>
            {
                if (packet is MqttConnAckPacket { ServerKeepAlive: > 0 and var seconds } && TimeSpan.FromSeconds(seconds) < options.KeepAlivePeriod)
                {
                    options.KeepAlivePeriod = TimeSpan.FromSeconds(seconds);
                }
            });
    }
}
