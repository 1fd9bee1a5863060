using System.Net.Sockets;
using MQTTnet;
using MQTTnet.Exceptions;
using MQTTnet.Formatter;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>What the node's and the prompt client's connections have in common.</summary>
internal static class BrokerConnection
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(10);

    /// <summary>Options of an MQTT 5 connection.</summary>
    /// <exception cref="ConfigurationException">The password file cannot be read.</exception>
    public static MqttClientOptionsBuilder Options(BrokerAddress address, string clientId, string? user, string? passwordFile)
    {
        MqttClientOptionsBuilder builder = new MqttClientOptionsBuilder()
            .WithTcpServer(address.Host, address.Port)
            .WithProtocolVersion(MqttProtocolVersion.V500)
            .WithClientId(clientId)
            .WithTimeout(s_timeout)
            .WithKeepAlivePeriod(TimeSpan.FromSeconds(15));
        return user is null ? builder : builder.WithCredentials(user, ReadPassword(passwordFile));
    }

    /// <summary>Connects.</summary>
    /// <exception cref="BrokerUnavailableException">Nobody listens there, or the broker refuses.</exception>
    public static async Task ConnectAsync(IMqttClient client, BrokerAddress address, MqttClientOptions options, CancellationToken cancellation)
    {
        string reason;
        Exception? cause = null;
        try
        {
            MqttClientConnectResult result = await client.ConnectAsync(options, cancellation).ConfigureAwait(false);
            if (result.ResultCode == MqttClientConnectResultCode.Success)
            {
                return;
            }

            reason = $"it refuses the connection: {result.ResultCode} {result.ReasonString}";
        }
        catch (Exception e) when (IsNetworkFailure(e, cancellation))
        {
            (reason, cause) = (e.GetBaseException().Message, e);
        }

        throw new BrokerUnavailableException(address.ToString(), reason, "Check that the broker runs there and lets this user in.", cause);
    }

    /// <summary>Whether an exception tells that the connection is bad, not that the program is.</summary>
    /// <remarks>The client library throws InvalidOperationException when it is called while an earlier connect or disconnect is still under way.</remarks>
    public static bool IsNetworkFailure(Exception e, CancellationToken cancellation) =>
        e is MqttCommunicationException or SocketException or IOException or TimeoutException or MqttProtocolViolationException or InvalidOperationException
        || (e is OperationCanceledException && !cancellation.IsCancellationRequested);

    private static string ReadPassword(string? file)
    {
        try
        {
            return file is null ? "" : File.ReadLines(file).FirstOrDefault("");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"Mqtt:PasswordFile is '{file}', which cannot be read: {e.Message}", e);
        }
    }
}
