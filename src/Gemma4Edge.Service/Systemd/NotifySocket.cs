using System.Net.Sockets;
using Microsoft.Extensions.Hosting.Systemd;

namespace Gemma4Edge.Service.Systemd;

/// <summary>Tells systemd how the service does, over the datagram socket that NOTIFY_SOCKET names.</summary>
/// <remarks>The hosting library's own notifier takes part only where it can read /proc/1/comm, which ProtectProc=invisible hides,
/// and says READY=1 as soon as the host has started, which is no place for a watchdog or a reload.</remarks>
internal sealed class NotifySocket(string path) : ISystemdNotifier
{
    /// <summary>The socket of this process; null = systemd did not start it, or does not want to know.</summary>
    public static NotifySocket? OfThisProcess() => Environment.GetEnvironmentVariable("NOTIFY_SOCKET") is { Length: > 0 } path ? new NotifySocket(path) : null;

    /// <inheritdoc/>
    public bool IsEnabled => true;

    /// <inheritdoc/>
    public void Notify(ServiceState state)
    {
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(path[0] == '@' ? $"\0{path[1..]}" : path)); // @ = a name in the abstract namespace
            socket.Send(System.Text.Encoding.UTF8.GetBytes(state.ToString()));
        }
        catch (SocketException)
        {
            // nobody listens: whoever started us draws its conclusions from the silence, and there is nobody else to tell
        }
    }
}
