namespace Gemma4Edge.Model.ModelFile;

/// <summary>What <see cref="ModelConverter"/> makes of a model.</summary>
public sealed record ConversionOptions
{
    /// <summary>The format of the matrices, one of <see cref="FormatChoice.Names"/>.</summary>
    public string Weights { get; init; } = FormatChoice.Auto;

    /// <summary>Formats of single tensors: a name of the checkpoint or of GGUF, <c>*</c> and <c>?</c> as wildcards. The last that matches counts.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Tensors { get; init; } = [];

    /// <summary>Folder of a LoRA adapter to add to the weights first; null = none.</summary>
    public string? Adapter { get; init; }

    /// <summary>Text, or JSON lines with <c>text</c> or <c>prompt</c> and <c>completion</c>, for which the codes of tq4, tq3 and tq2 are chosen; null = none. Not together with an adapter.</summary>
    public string? Calibration { get; init; }

    /// <summary>Threads; 0 = one per core.</summary>
    public int Threads { get; init; }
}

/// <summary>What became of a tensor.</summary>
/// <param name="Name">Its name in the new file.</param>
/// <param name="From">Format it had.</param>
/// <param name="Format">Format it has.</param>
/// <param name="Bits">Mean bits per weight, scales included.</param>
/// <param name="Bytes">Size of its data.</param>
/// <param name="RelativeError">Σ(w − ŵ)² / Σw²; 0 = exact. Calibration raises it: it lowers the error of the outputs instead.</param>
public sealed record ConvertedTensor(string Name, string From, string Format, double Bits, long Bytes, double RelativeError);

/// <summary>A conversion that was asked for and cannot be: an unknown format, a tensor that does not fit it, an adapter of another kind.</summary>
public sealed class ConversionException(string message) : Exception(message);
