using System.Runtime.InteropServices;

namespace Gemma4Edge.Service.Mqtt;

/// <summary>Whether this process can encrypt a connection.</summary>
internal static class Tls
{
    /// <remarks>.NET loads the system's OpenSSL, and ends the process where there is none. So it is looked for before anything of it is used.</remarks>
    private static readonly Lazy<bool> s_isPresent = new(() =>
        new[] { "libssl.so.3", "libssl.so.1.1", "libssl.so" }.Any(name => NativeLibrary.TryLoad(name, out _)));

    /// <summary>It can.</summary>
    public static bool IsAvailable => s_isPresent.Value;

    /// <exception cref="BrokerUnavailableException">It cannot.</exception>
    public static void ThrowIfAbsent(BrokerAddress address)
    {
        if (!s_isPresent.Value)
        {
            throw new BrokerUnavailableException(
                address.ToString(), "this static build, or this machine, has no TLS (libssl is not found)", "Use the dynamic build with OpenSSL installed, or a broker without TLS.");
        }
    }
}
