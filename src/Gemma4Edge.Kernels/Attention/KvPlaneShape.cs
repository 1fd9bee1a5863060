namespace Gemma4Edge.Kernels;

/// <summary>What a plane holds for each position, and how it is used.</summary>
/// <param name="Heads">Key/value heads of a row.</param>
/// <param name="HeadDim">Floats per head.</param>
/// <param name="SignSeed">Chooses the signs of the rotation; every plane has its own.</param>
/// <param name="MaxChunk">Most positions that are written before the first of them is read.</param>
public readonly record struct KvPlaneShape(int Heads, int HeadDim, ulong SignSeed, int MaxChunk)
{
    /// <summary>Floats per row.</summary>
    public int RowLength => checked(Heads * HeadDim);
}
