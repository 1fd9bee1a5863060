using System.Globalization;

namespace Gemma4Edge.Service.Telemetry;

/// <summary>What a Raspberry Pi's firmware says about voltage, clock and heat: its <c>get_throttled</c> word.</summary>
/// <param name="Bits">The word: bits 0 to 3 are true now, bits 16 to 19 were true at some time since the machine started.</param>
public readonly record struct Throttling(uint Bits)
{
    private const int SinceBoot = 16;

    /// <summary>What the bits mean, from bit 0 on.</summary>
    public static IReadOnlyList<string> Reasons { get; } = ["under_voltage", "frequency_capped", "throttled", "soft_temperature_limit"];

    /// <summary>What holds it back now.</summary>
    public IReadOnlyList<string> Now => Words(0);

    /// <summary>What has held it back since it started.</summary>
    public IReadOnlyList<string> SinceStart => Words(SinceBoot);

    /// <summary>Reads the firmware's word; null = there is no such firmware.</summary>
    /// <remarks>The firmware's device lies under /sys/devices/platform/soc or, by its address, soc@…</remarks>
    public static Throttling? Read(SystemFiles files)
    {
        ArgumentNullException.ThrowIfNull(files);
        foreach (string firmware in files.Folders("/sys/devices/platform", "soc*").SelectMany(soc => files.Folders(soc, "*firmware")))
        {
            string hex = files.Text($"{firmware}/get_throttled").Trim();
            if (uint.TryParse(hex.StartsWith("0x", StringComparison.Ordinal) ? hex.AsSpan(2) : hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out uint bits))
            {
                return new Throttling(bits);
            }
        }

        return null;
    }

    private string[] Words(int firstBit)
    {
        uint bits = Bits;
        return [.. Reasons.Where((_, bit) => (bits >> (firstBit + bit) & 1) != 0)];
    }
}
