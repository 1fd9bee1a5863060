namespace Gemma4Edge.Kernels;

/// <summary>Where the codes of a TurboQuant matrix stand.</summary>
public enum TurboQuantStorage
{
    /// <summary>Panels of 16 rows, in the order the kernels multiply them: <see cref="TurboQuantLayout"/>.</summary>
    Panel16,

    /// <summary>One row after the other: tables that are looked up, and the comparison formats.</summary>
    Row,

    /// <summary>The two high bits of each 4-bit code in panels, the two low bits in rows behind them: <see cref="NestLayout"/>.</summary>
    Nest,
}
