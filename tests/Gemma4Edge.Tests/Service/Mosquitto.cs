using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Gemma4Edge.Tests.Service;

/// <summary>A Mosquitto of the test's own, on a free port of loopback.</summary>
internal sealed class Mosquitto : IDisposable
{
    private const string Program = "/usr/sbin/mosquitto";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private static int s_lastPort = 10_000 + Random.Shared.Next(10_000);
    private readonly string _config = Path.GetTempFileName();
    private Process? _process;

    /// <param name="config">Its configuration for a port; null = lets everybody in.</param>
    public Mosquitto(Func<int, string>? config = null)
    {
        Assert.SkipUnless(File.Exists(Program), $"{Program} is not installed");
        Port = FreePort();
        File.WriteAllText(_config, (config?.Invoke(Port) ?? $"listener {Port} 127.0.0.1\nallow_anonymous true\n") + "user root\nlog_dest none\n");
        Start();
    }

    public int Port { get; }

    /// <summary>A port that nobody listens on and no other test is given. It lies below those that the kernel deals out: no client's connection takes it before it is used, or between a kill and a restart.</summary>
    public static int FreePort()
    {
        while (true)
        {
            int port = Interlocked.Increment(ref s_lastPort);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // taken: the next one
            }
        }
    }

    public void Start()
    {
        _process = Process.Start(new ProcessStartInfo(Program, ["-c", _config]) { RedirectStandardError = true, RedirectStandardOutput = true })!; // nobody reads: log_dest none keeps the pipes empty
        for (long start = Stopwatch.GetTimestamp(); !_process.HasExited && Stopwatch.GetElapsedTime(start) < s_patience;)
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
