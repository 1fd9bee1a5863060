namespace Gemma4Edge.Service.Telemetry;

/// <summary>Whether the compute thread gets anywhere, for whoever asks now and then.</summary>
/// <param name="served">Whose progress counts.</param>
/// <param name="time">The clock of its patience.</param>
/// <remarks>Thread-safe.</remarks>
internal sealed class ComputePulse(ServedModel served, TimeProvider time)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1); // as long as the unit's WatchdogSec
    private readonly Lock _lock = new();
    private long _seen = -1;
    private long _since;

    /// <summary>False when it has done nothing since somebody asked a minute ago or earlier: no layer, no look for work.</summary>
    public bool Beats
    {
        get
        {
            lock (_lock)
            {
                if (served.Progress() is var progress && progress != _seen)
                {
                    (_seen, _since) = (progress, time.GetTimestamp());
                }

                served.Queue.Nudge(); // a thread that waits for work shows by this, before the next question, that it would take some
                return time.GetElapsedTime(_since) < s_patience;
            }
        }
    }
}
