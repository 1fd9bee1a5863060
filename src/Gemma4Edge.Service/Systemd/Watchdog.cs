using System.Globalization;
using Microsoft.Extensions.Hosting.Systemd;

namespace Gemma4Edge.Service.Systemd;

/// <summary>Tells systemd every little while what the service does, and that it lives: only while the compute thread goes forward.</summary>
/// <param name="systemd">Who hears it.</param>
/// <param name="served">Whose progress counts.</param>
/// <param name="status">One line for <c>systemctl status</c>.</param>
/// <param name="timeout">Silence after which systemd ends the process; null = it does not watch.</param>
internal sealed class Watchdog(ISystemdNotifier systemd, ServedModel served, Func<string> status, TimeSpan? timeout)
{
    private static readonly TimeSpan s_statusInterval = TimeSpan.FromSeconds(2);

    /// <summary>The timeout that systemd set for this process: WATCHDOG_USEC, if WATCHDOG_PID is this process or nobody's.</summary>
    public static TimeSpan? TimeoutOfThisProcess()
    {
        string? process = Environment.GetEnvironmentVariable("WATCHDOG_PID");
        return (string.IsNullOrEmpty(process) || process == Environment.ProcessId.ToString(CultureInfo.InvariantCulture))
            && long.TryParse(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), CultureInfo.InvariantCulture, out long microseconds) && microseconds > 0
            ? TimeSpan.FromMicroseconds(microseconds)
            : null;
    }

    /// <summary>Works until it is stopped.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        TimeSpan half = timeout / 2 ?? s_statusInterval;
        using var timer = new PeriodicTimer(half < s_statusInterval ? half : s_statusInterval);
        long seen = served.Progress();
        string? told = null;
        try
        {
            do
            {
                long progress = served.Progress();
                if (timeout is not null && progress != seen)
                {
                    systemd.Notify(new ServiceState("WATCHDOG=1"));
                    seen = progress;
                }

                served.Queue.Nudge(); // a thread that waits for work shows by this that it would take some
                if (status() is var now && now != told)
                {
                    systemd.Notify(new ServiceState($"STATUS={now}"));
                    told = now;
                }
            }
            while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // stopped
        }
    }
}
