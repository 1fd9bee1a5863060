namespace Gemma4Edge.Kernels;

/// <summary>One product of a matrix in ggml's blocks with quantized activations: everything a kernel reads and writes.</summary>
internal unsafe struct GgmlProduct
{
    /// <summary>First block of row 0; no alignment needed.</summary>
    public byte* Weights;

    /// <summary>Distance of two rows in bytes.</summary>
    public long RowBytes;

    /// <summary>Blocks per row.</summary>
    public int Blocks;

    /// <summary>Activation rows.</summary>
    public int Tokens;

    /// <summary>Activations, (Blocks, Tokens).</summary>
    public Int8Block* X;

    /// <summary>Result, (Tokens, rows), rows <see cref="YStride"/> floats apart.</summary>
    public float* Y;

    /// <summary>Distance of two result rows in floats.</summary>
    public int YStride;
}
