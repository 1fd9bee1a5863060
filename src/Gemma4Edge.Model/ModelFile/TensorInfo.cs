namespace Gemma4Edge.Model.ModelFile;

/// <summary>What a model file says about one tensor.</summary>
/// <param name="Name">The name in the file.</param>
/// <param name="Shape">Dimensions, outermost first: a matrix is (rows, columns), as Hugging Face writes it.</param>
/// <param name="Format">Name of the weight format, lower case: <c>q4_0</c>, <c>bf16</c>.</param>
/// <param name="Bits">Mean bits per weight, scales included.</param>
/// <param name="Bytes">Size of the data.</param>
/// <param name="Offset">Where the data starts, in bytes from the start of <paramref name="File"/>.</param>
/// <param name="File">Name of the file that holds it, without folder.</param>
public sealed record TensorInfo(string Name, IReadOnlyList<int> Shape, string Format, double Bits, long Bytes, long Offset, string File);
