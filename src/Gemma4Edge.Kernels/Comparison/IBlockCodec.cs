namespace Gemma4Edge.Kernels;

/// <summary>A comparison format: blocks of rotated coordinates as a few halves and bit codes, the same for weights and for keys and values.</summary>
/// <remarks>
/// Made for repeating a comparison, not for speed. Codes, scales and decoded floats are the same on every CPU: each step is one rounded
/// operation in a fixed order, and no sine, cosine or arctangent of the system's library is asked. Immutable, safe on any thread.
/// </remarks>
internal interface IBlockCodec
{
    /// <summary>Coordinates of a block.</summary>
    int BlockLength { get; }

    /// <summary>Halves of a block.</summary>
    int ScaleCount { get; }

    /// <summary>Bytes of a block's codes.</summary>
    int CodeBytes { get; }

    /// <summary>Codes of one block.</summary>
    /// <param name="first">Place of the block's first coordinate in its vector.</param>
    /// <param name="block">(BlockLength), rotated.</param>
    /// <param name="scales">(ScaleCount), overwritten.</param>
    /// <param name="codes">(CodeBytes), overwritten.</param>
    void Encode(int first, ReadOnlySpan<float> block, Span<Half> scales, Span<byte> codes);

    /// <summary>The block that scales and codes stand for.</summary>
    /// <param name="first">As when it was encoded.</param>
    /// <param name="scales">(ScaleCount).</param>
    /// <param name="codes">(CodeBytes).</param>
    /// <param name="block">(BlockLength), rotated; overwritten.</param>
    void Decode(int first, ReadOnlySpan<Half> scales, ReadOnlySpan<byte> codes, Span<float> block);
}
