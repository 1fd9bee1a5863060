namespace Gemma4Edge.Kernels;

/// <summary>How the keys, or the values, of a layer are stored. From <see cref="Kv8"/> on, head vectors are rotated first (see <see cref="KvPlaneRotated"/>).</summary>
public enum KvFormat
{
    /// <summary>Single precision: exact.</summary>
    F32,

    /// <summary>Half precision: half the memory, relative error 2⁻¹¹. Normed keys and values stay far below its limit of 65504.</summary>
    F16,

    /// <summary>8-bit integers, one scale per head vector.</summary>
    Kv8,

    /// <summary>4-bit codes of 16 unequal levels, one scale per head vector.</summary>
    Tq4,

    /// <summary><see cref="Tq4"/>, but the first 4 and the last 64 positions that a query sees are read at 8 bits.</summary>
    Tq4Ends,

    /// <summary>Polar angles; 4.1 bits. For comparison: nothing but a scalar decoder.</summary>
    Polar4,

    /// <summary>3-bit codes, and one sign per coordinate of the projected residual; 4.2 bits. For comparison: nothing but a scalar decoder.</summary>
    Prod4,
}
