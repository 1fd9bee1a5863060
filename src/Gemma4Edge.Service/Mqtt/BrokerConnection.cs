using System.Net.Sockets;
using System.Security.Authentication;
using MQTTnet;
using MQTTnet.Exceptions;
using MQTTnet.Formatter;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What the node's and the prompt client's connections have in common.</summary>
internal static class BrokerConnection
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    /// <summary>Options of an MQTT 5 connection.</summary>
    /// <exception cref="ConfigurationException">A file of the credentials cannot be used.</exception>
    public static MqttClientOptionsBuilder Options(BrokerAddress address, string clientId, BrokerCredentials credentials)
    {
        MqttClientOptionsBuilder builder = new MqttClientOptionsBuilder()
            .WithTcpServer(address.Host, address.Port)
            .WithProtocolVersion(MqttProtocolVersion.V500)
            .WithClientId(clientId)
            .WithTimeout(s_timeout)
            .WithKeepAlivePeriod(TimeSpan.FromSeconds(15));
        BrokerLogin.Read(address, credentials).AddTo(builder);
        return builder;
    }

    /// <summary>Connects.</summary>
    /// <exception cref="BrokerUnavailableException">Nobody listens there, or the broker refuses.</exception>
    public static async Task ConnectAsync(IMqttClient client, BrokerAddress address, MqttClientOptions options, CancellationToken cancellation)
    {
        string reason;
        string? user = options.Credentials?.GetUserName(options);
        string check = user is null ? "" : $", and the password of user '{user}'"; // a refusal may get lost: Mosquitto closes at once after it
        string hint = $"Check that the broker runs there{check}.";
        bool isRefusal = true;
        Exception? cause = null;
        try
        {
            MqttClientConnectResult result = await client.ConnectAsync(options, cancellation).ConfigureAwait(false);
            if (result.ResultCode == MqttClientConnectResultCode.Success)
            {
                return;
            }

            reason = $"it refuses the connection: {result.ResultCode} {result.ReasonString}".TrimEnd();
            if (result.ResultCode is MqttClientConnectResultCode.NotAuthorized or MqttClientConnectResultCode.BadUserNameOrPassword)
            {
                hint = user is not null
                    ? $"Check the password of user '{user}', and that the broker knows that user."
                    : "It wants a user and a password, or a certificate: give them.";
            }
        }
        catch (Exception e) when (IsNetworkFailure(e, cancellation))
        {
            Exception root = e.GetBaseException();
            (reason, hint, cause) = (root.Message, (root as CertificateRefusedException)?.Hint ?? hint, e);
            isRefusal = root is CertificateRefusedException;
        }

        throw new BrokerUnavailableException(address.ToString(), reason, hint, cause) { IsRefusal = isRefusal };
    }

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
}
