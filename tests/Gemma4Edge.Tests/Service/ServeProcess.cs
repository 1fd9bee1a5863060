using System.Diagnostics;
using System.Threading.Channels;
using Gemma4Edge.Tests.Cli;

namespace Gemma4Edge.Tests.Service;

/// <summary>A real <c>gemma4edge serve</c> with the demo model, to be stopped as power cuts and hangs do it.</summary>
internal sealed class ServeProcess : IDisposable
{
    private readonly TempFile _config;
    private readonly Process _process;
    private readonly Channel<string?> _log = Channel.CreateUnbounded<string?>();

    /// <param name="configuration">JSON, without the model.</param>
    /// <param name="environment">Added to the environment.</param>
    public ServeProcess(string configuration, params (string Name, string Value)[] environment)
    {
        _config = new TempFile([configuration]);
        var start = new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "gemma4edge"), ["serve", "--model", TestData.DemoModel, "--config", _config.Path, "--threads", "1"])
        {
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, e) => _log.Writer.TryWrite(e.Data); // what nobody reads would stop it; null at the end
        _process.BeginErrorReadLine();
    }

    /// <summary>Waits for a line of its log that holds <paramref name="text"/>.</summary>
    public async Task<string> LoggedAsync(string text, CancellationToken patience)
    {
        await foreach (string? line in _log.Reader.ReadAllAsync(patience))
        {
            if ((line ?? throw new InvalidOperationException($"It ended without saying: {text}")).Contains(text, StringComparison.Ordinal))
            {
                return line;
            }
        }

        throw new InvalidOperationException("unreachable");
    }

    /// <summary>Its exit code, when it ends by itself.</summary>
    public async Task<int> ExitAsync(CancellationToken patience)
    {
        await _process.WaitForExitAsync(patience);
        return _process.ExitCode;
    }

    /// <summary>From now on it does nothing, and its connections stay.</summary>
    public void Freeze() => Process.Start("kill", ["-STOP", $"{_process.Id}"]).WaitForExit();

    /// <summary>SIGTERM, as systemd stops it.</summary>
    public void Terminate() => Process.Start("kill", [$"{_process.Id}"]).WaitForExit();

    /// <summary>SIGKILL.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public void Dispose()
    {
        Kill();
        _process.Dispose();
        _config.Dispose();
    }
}
