using System.Diagnostics;
using Gemma4Edge.Tests.Cli;

namespace Gemma4Edge.Tests.Service;

/// <summary>A real <c>gemma4edge serve</c> with the demo model, to be stopped as power cuts and hangs do it.</summary>
internal sealed class ServeProcess : IDisposable
{
    private readonly TempFile _config;
    private readonly Process _process;

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
        _process.ErrorDataReceived += (_, _) => { }; // what nobody reads would stop it
        _process.BeginErrorReadLine();
    }

    /// <summary>From now on it does nothing, and its connections stay.</summary>
    public void Freeze() => Process.Start("kill", ["-STOP", $"{_process.Id}"]).WaitForExit();

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
