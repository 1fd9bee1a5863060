using System.Diagnostics.CodeAnalysis;

namespace Gemma4Edge.Service;

/// <summary>Where a broker listens.</summary>
/// <param name="Host">Name or address.</param>
/// <param name="Port">TCP port.</param>
public sealed record BrokerAddress(string Host, int Port)
{
    /// <summary>MQTT's own port.</summary>
    public const int DefaultPort = 1883;

    /// <summary>Reads <c>mqtt://HOST[:PORT]</c>; no user, no path.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out BrokerAddress? address)
    {
        address = Uri.TryCreate(text, UriKind.Absolute, out Uri? uri)
            && uri.Scheme == "mqtt" && uri.Host.Length > 0 && uri.UserInfo.Length == 0 && uri.PathAndQuery is "" or "/" && uri.Fragment.Length == 0
            ? new BrokerAddress(uri.IdnHost, uri.IsDefaultPort || uri.Port < 0 ? DefaultPort : uri.Port)
            : null;
        return address is not null;
    }

    /// <summary>The address as <see cref="TryParse"/> reads it.</summary>
    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"mqtt://[{Host}]:{Port}" : $"mqtt://{Host}:{Port}";
}
