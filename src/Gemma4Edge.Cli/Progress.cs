using System.Diagnostics;

namespace Gemma4Edge.Cli;

/// <summary>Tells how far long work has come: a bar that is drawn over on a terminal, a line every few seconds elsewhere.</summary>
/// <remarks>Writes to Error only. Work of less than a second shows nothing.</remarks>
internal sealed class Progress(Terminal terminal, string work) : IDisposable
{
    private const int BarWidth = 30;

    private readonly long _start = Stopwatch.GetTimestamp();
    private TimeSpan _next = terminal.CanRedraw ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(5);
    private bool _drawn;

    /// <summary><paramref name="done"/> of <paramref name="total"/> units are behind us.</summary>
    public void Report(long done, long total)
    {
        TimeSpan elapsed = Stopwatch.GetElapsedTime(_start);
        if (elapsed < _next || total <= 0)
        {
            return;
        }

        double share = Math.Clamp((double)done / total, 0, 1);
        string left = share > 0 ? $", {FormatSeconds(elapsed.TotalSeconds * (1 - share) / share)} left" : "";
        string state = $"{100 * share,3:F0} % ({done} of {total}{left})";
        if (terminal.CanRedraw)
        {
            int filled = (int)(BarWidth * share);
            string line = $"{work} [{new string('#', filled)}{new string('.', BarWidth - filled)}] {state}";
            line = line.Length < terminal.Columns ? line : $"{work} {state}"; // a line that is broken cannot be drawn over
            terminal.Error.Write($"\r{line[..Math.Min(line.Length, terminal.Columns - 1)]}\e[K");
            _drawn = true;
            _next = elapsed + TimeSpan.FromMilliseconds(200);
        }
        else
        {
            terminal.Error.WriteLine($"{work}: {state}");
            _next = elapsed + TimeSpan.FromSeconds(5);
        }
    }

    /// <summary>Takes the bar away.</summary>
    public void Dispose()
    {
        if (_drawn)
        {
            terminal.Error.Write("\r\e[K");
            _drawn = false;
        }
    }

    private static string FormatSeconds(double seconds) => seconds < 90 ? $"{seconds:F0} s" : $"{seconds / 60:F0} min";
}
