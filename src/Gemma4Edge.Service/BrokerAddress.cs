using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Gemma4Edge.Service;

/// <summary>Where a broker listens.</summary>
/// <param name="Host">Name or address.</param>
/// <param name="Port">TCP port.</param>
/// <param name="Tls">Whether the connection is encrypted and the broker shows a certificate.</param>
public sealed record BrokerAddress(string Host, int Port, bool Tls = false)
{
    /// <summary>MQTT's own port.</summary>
    public const int DefaultPort = 1883;

    /// <summary>MQTT's port with TLS.</summary>
    public const int DefaultTlsPort = 8883;

    /// <summary>The form of a broker's URL, for messages.</summary>
    public const string Form = "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]";

    /// <summary>Whether it is this machine.</summary>
    internal bool IsLoopback => Host == "localhost" || (IPAddress.TryParse(Host, out IPAddress? address) && IPAddress.IsLoopback(address));

    /// <summary>Reads <c>mqtt://HOST[:PORT]</c> or <c>mqtts://HOST[:PORT]</c>; no user, no path.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out BrokerAddress? address)
    {
        address = Uri.TryCreate(text, UriKind.Absolute, out Uri? uri)
            && uri.Scheme is "mqtt" or "mqtts" && uri.Host.Length > 0 && uri.UserInfo.Length == 0 && uri.PathAndQuery is "" or "/" && uri.Fragment.Length == 0
            ? Of(uri.IdnHost, uri.IsDefaultPort || uri.Port < 0 ? null : uri.Port, uri.Scheme == "mqtts")
            : null;
        return address is not null;
    }

    /// <summary>The address as <see cref="TryParse"/> reads it.</summary>
    public override string ToString()
    {
        string host = Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]" : Host;
        return $"{(Tls ? "mqtts" : "mqtt")}://{host}:{Port}";
    }

    private static BrokerAddress Of(string host, int? port, bool tls) => new(host, port ?? (tls ? DefaultTlsPort : DefaultPort), tls);
}
