namespace Gemma4Edge.Kernels;

/// <summary>What the codes of a TurboQuant matrix mean.</summary>
public enum TurboQuantScheme
{
    /// <summary>Rotated rows on Lloyd-Max levels.</summary>
    Tq,

    /// <summary>The integers of a quantization-aware training, taken over exactly; no rotation.</summary>
    Lattice,

    /// <summary>Plain 8-bit integers, no rotation.</summary>
    Q8,

    /// <summary>Rotated rows as angles of a recursive polar transform; for comparison.</summary>
    Polar,

    /// <summary>Rotated rows on 3-bit levels and the signs of the rotated residual; for comparison.</summary>
    Prod,
}
