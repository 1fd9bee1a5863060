using System.Globalization;

namespace Gemma4Edge.Service;

/// <summary>An amount of memory as a configuration says it: bytes, or a share of what there is.</summary>
/// <param name="Bytes">Bytes; 0 where <paramref name="Percent"/> counts.</param>
/// <param name="Percent">Of the machine's memory, or of its control group's.</param>
public readonly record struct MemorySize(long Bytes, double Percent = 0)
{
    /// <summary>What is allowed, for messages.</summary>
    public const string Syntax = "bytes (1500000000), a size (800MB, 1.5GiB), or a share of the machine's memory (75%)";

    private static readonly (string Suffix, double Bytes)[] s_units =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1), ("", 1)];

    /// <summary>Reads it; sizes are positive, shares at most 100 %.</summary>
    public static bool TryParse(string text, out MemorySize size)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text.EndsWith('%'))
        {
            bool isShare = Number(text[..^1], out double percent) && percent is > 0 and <= 100;
            size = new MemorySize(0, isShare ? percent : 0);
            return isShare;
        }

        (string suffix, double unit) = s_units.First(known => text.EndsWith(known.Suffix, StringComparison.OrdinalIgnoreCase));
        bool isSize = Number(text[..^suffix.Length].TrimEnd(), out double number) && number > 0 && number * unit is >= 1 and < 1e15;
        size = new MemorySize(isSize ? (long)(number * unit) : 0);
        return isSize;
    }

    /// <summary>In bytes, on a machine of <paramref name="totalBytes"/>.</summary>
    public long On(long totalBytes) => Percent > 0 ? (long)(totalBytes * Percent / 100) : Bytes;

    private static bool Number(string text, out double value) => double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out value);
}
