using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>A tensor of a mapped file. Its reader has checked that the bytes lie inside the file and fit shape and format.</summary>
/// <param name="File">The mapping that holds the data.</param>
/// <param name="Name">The name in the file.</param>
/// <param name="Shape">Dimensions, outermost first.</param>
/// <param name="Format">How the weights are stored; null = a type this program does not compute with.</param>
/// <param name="FormatName">The format's name, also where <paramref name="Format"/> is null.</param>
/// <param name="Offset">First byte of the data in the file.</param>
/// <param name="Bytes">Size of the data.</param>
internal sealed record StoredTensor(MappedFile File, string Name, int[] Shape, WeightFormat? Format, string FormatName, long Offset, long Bytes)
{
    /// <summary>CRC-32 of the data; null = the file has none.</summary>
    public uint? Checksum { get; init; }

    /// <summary>Name of the tensor whose values multiplied the columns before they were coded; null = none.</summary>
    public string? Diagonal { get; init; }

    /// <summary>The shape as text: <c>[256, 1536]</c>.</summary>
    public string ShapeText => Describe(Shape);

    /// <summary>A shape as text.</summary>
    public static string Describe(ReadOnlySpan<int> shape) => $"[{string.Join(", ", shape.ToArray())}]";

    /// <summary>Number of weights; a reader checked that it does not overflow.</summary>
    public long Count => Shape.Aggregate(1L, (count, size) => count * size);

    /// <summary>Whether the shape is the expected one; leading dimensions of 1 do not count.</summary>
    public bool HasShape(ReadOnlySpan<int> expected) =>
        Shape.AsSpan().TrimStart(1).SequenceEqual(expected.TrimStart(1));

    /// <summary>The public description.</summary>
    public TensorInfo ToInfo() =>
        new(Name, Shape, FormatName, Count == 0 ? 0 : 8.0 * Bytes / Count, Bytes, Offset, Path.GetFileName(File.Path));
}
