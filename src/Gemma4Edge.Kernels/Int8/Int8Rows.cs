namespace Gemma4Edge.Kernels;

/// <summary>Activation rows of 8-bit integers in [−127, 127], one scale per row: x[t, c] ≈ Scales[t] · Values[t, c].</summary>
internal unsafe struct Int8Rows
{
    /// <summary>(tokens, columns), rows <see cref="Stride"/> apart.</summary>
    public sbyte* Values;

    /// <summary>Distance of two rows in bytes.</summary>
    public int Stride;

    /// <summary>(tokens).</summary>
    public float* Scales;

    /// <summary>(tokens, columns / group): the sums of each group's values, rows <see cref="SumStride"/> integers apart. Kernels that multiply levels + 64 subtract 64 times these.</summary>
    public int* Sums;

    /// <summary>Distance of two rows of sums in integers.</summary>
    public int SumStride;
}
