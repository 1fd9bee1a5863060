using System.Runtime.InteropServices;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>What the kernel knows of how right its clock is, whichever program keeps it (systemd-timesyncd, chrony, ntpd).</summary>
internal static class KernelClock
{
    private const int TimexWords = 26; // struct timex of 64-bit Linux: 208 bytes; modes 0 in the first word = only read
    private const int MaxError = 3;    // its fourth word: the largest error that the clock may have, in µs; grows by itself where nobody keeps it
    private const long SixteenSeconds = 16_000_000;

    /// <summary>Whether something keeps it right; null = the kernel does not tell.</summary>
    /// <remarks>The rule of timedatectl. STA_UNSYNC is not asked: chrony without rtcsync leaves it set.</remarks>
    public static bool? IsSynchronised()
    {
        long[] timex = new long[TimexWords];
        return AdjTimex(ref timex[0]) < 0 ? null : timex[MaxError] < SixteenSeconds;
    }

    [DllImport("libc", EntryPoint = "adjtimex")]
    private static extern int AdjTimex(ref long timex);
}
