namespace Gemma4Edge.Kernels;

/// <summary>What <see cref="ScalarKernel{TBlock}"/> needs to know of a format: how to read one block.</summary>
internal unsafe interface IScalarBlock
{
    /// <summary>Weights per block, at most <see cref="ScalarKernel{TBlock}.MaxColumns"/>.</summary>
    static abstract int Columns { get; }

    /// <summary>Bytes per block.</summary>
    static abstract int Bytes { get; }

    /// <summary>Writes the block's weights to <paramref name="destination"/>, (Columns).</summary>
    static abstract void Decode(byte* block, float* destination);
}
