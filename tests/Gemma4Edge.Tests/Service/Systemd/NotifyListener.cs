using System.Net.Sockets;
using System.Text;
using Gemma4Edge.Service.Systemd;

namespace Gemma4Edge.Tests.Service.Systemd;

/// <summary>Stands where systemd stands: a datagram socket that hears what a service tells of itself.</summary>
internal sealed class NotifyListener : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly byte[] _buffer = new byte[4096];

    public NotifyListener(bool isAbstract = false)
    {
        string name = Path.Combine(Path.GetTempPath(), $"gemma4edge-notify-{Guid.NewGuid():N}");
        Address = isAbstract ? $"@{name}" : name;
        _socket.Bind(new UnixDomainSocketEndPoint(isAbstract ? $"\0{name}" : name));
        Notifier = new NotifySocket(Address);
    }

    public string Address { get; }

    public NotifySocket Notifier { get; }

    /// <summary>The next message that begins with <paramref name="prefix"/>; null = none came in time.</summary>
    public async Task<string?> NextAsync(string prefix, TimeSpan? within = null)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        timeout.CancelAfter(within ?? TimeSpan.FromSeconds(60));
        try
        {
            while (true)
            {
                int length = await _socket.ReceiveAsync(_buffer, timeout.Token);
                string message = Encoding.UTF8.GetString(_buffer, 0, length);
                if (message.StartsWith(prefix, StringComparison.Ordinal))
                {
                    return message;
                }
            }
        }
        catch (OperationCanceledException) when (!TestContext.Current.CancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    public void Dispose()
    {
        _socket.Dispose();
        if (File.Exists(Address)) // an abstract name is no file
        {
            File.Delete(Address);
        }
    }
}
