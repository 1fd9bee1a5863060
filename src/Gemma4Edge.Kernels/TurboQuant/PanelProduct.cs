using System.Runtime.CompilerServices;

namespace Gemma4Edge.Kernels;

/// <summary>One product of a panel matrix with quantized activations: everything a kernel reads and writes.</summary>
internal unsafe struct PanelProduct
{
    /// <summary>First panel; aligned to 64 in files, but kernels need no alignment.</summary>
    public byte* Panels;

    /// <summary>Distance of two panels in bytes.</summary>
    public long PanelBytes;

    /// <summary>Offset of a panel's scales.</summary>
    public long ScaleOffset;

    /// <summary>Rows of the matrix; the last panel may have fewer than 16.</summary>
    public int Rows;

    /// <summary>A multiple of the group.</summary>
    public int Columns;

    /// <summary>Columns per scale, a multiple of 32; Columns where the row has one.</summary>
    public int Group;

    /// <summary>Bits per code.</summary>
    public int Bits;

    /// <summary>Whether the scales are single precision.</summary>
    public bool WideScales;

    /// <summary>The levels by code; none at 8 bits.</summary>
    public LevelTable Levels;

    /// <summary>Activation rows.</summary>
    public int Tokens;

    /// <summary>Quantized activations.</summary>
    public Int8Rows X;

    /// <summary>Result, (Tokens, Rows), rows <see cref="YStride"/> floats apart.</summary>
    public float* Y;

    /// <summary>Distance of two result rows in floats.</summary>
    public int YStride;

    /// <summary>Describes the product of a matrix; X, Tokens, Y are the caller's to set.</summary>
    public PanelProduct(TurboQuantDescriptor format, byte* panels, int rows, int columns)
    {
        Panels = panels;
        PanelBytes = TurboQuantLayout.PanelBytes(format, columns);
        ScaleOffset = TurboQuantLayout.CodeBytes(format.Bits, columns);
        Rows = rows;
        Columns = columns;
        Group = format.Group == 0 ? columns : format.Group;
        Bits = format.Bits;
        WideScales = format.WideScales;
        for (int code = 0; code < format.LevelSpan.Length; code++)
        {
            Levels[code] = format.LevelSpan[code];
        }
    }

    /// <summary>Panels of a matrix.</summary>
    public static int Count(int rows) => (rows + TurboQuantLayout.PanelRows - 1) / TurboQuantLayout.PanelRows;

    /// <summary>Up to 16 levels; the rest are zero.</summary>
    [InlineArray(16)]
    internal struct LevelTable
    {
        private sbyte _level;
    }
}
