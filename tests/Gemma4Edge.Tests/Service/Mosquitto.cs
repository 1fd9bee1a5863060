using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Gemma4Edge.Tests.Service;

/// <summary>A Mosquitto of the test's own, on a free port of loopback.</summary>
internal sealed class Mosquitto : IDisposable
{
    private const string Program = "/usr/sbin/mosquitto";
    private readonly string _config = Path.GetTempFileName();
    private Process? _process;

    /// <param name="config">Its configuration for a port; null = lets everybody in.</param>
    public Mosquitto(Func<int, string>? config = null)
    {
        Assert.SkipUnless(File.Exists(Program), $"{Program} is not installed");
        Port = FreePort();
        File.WriteAllText(_config, (config?.Invoke(Port) ?? $"listener {Port} 127.0.0.1\nallow_anonymous true\n") + "user root\n");
        Start();
    }

    public int Port { get; }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public void Start()
    {
        _process = Process.Start(new ProcessStartInfo(Program, ["-c", _config]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        for (int i = 0; i < 200; i++)
        {
            try
            {
                using var probe = new TcpClient("127.0.0.1", Port);
                return;
            }
            catch (SocketException)
            {
                Thread.Sleep(25);
            }
        }

        throw new InvalidOperationException("Mosquitto did not start listening.");
    }

    /// <summary>Reads its access rules and passwords again; takes effect at once for all that is published after it.</summary>
    public void Reload() => Process.Start("kill", ["-HUP", $"{_process!.Id}"]).WaitForExit();

    /// <summary>Ends it as a power cut would: nothing is said, nothing is saved.</summary>
    public void Kill()
    {
        _process?.Kill();
        _process?.WaitForExit();
        _process?.Dispose();
        _process = null;
    }

    public void Dispose()
    {
        Kill();
        File.Delete(_config);
    }
}
