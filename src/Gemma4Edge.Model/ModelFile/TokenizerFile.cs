using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>Finds and reads the tokenizer of a model: GGUF metadata, tokenizer.json, or tokenizer.model, in this order.</summary>
internal static class TokenizerFile
{
    /// <summary>The tokenizer of a GGUF file (weights or not) or a Hugging Face folder.</summary>
    /// <exception cref="ModelFileException">There is none, or it is damaged.</exception>
    public static GemmaTokenizer Open(string path)
    {
        if (Directory.Exists(path))
        {
            return OfFolder(path);
        }

        using var file = new MappedFile(path);
        return OfGguf(file);
    }

    /// <summary>The tokenizer in a GGUF file's metadata.</summary>
    /// <exception cref="ModelFileException">There is none, or it is damaged.</exception>
    public static GemmaTokenizer OfGguf(MappedFile file) =>
        Checked(file.Path, () => GemmaTokenizer.FromVocabulary(GgufModel.ReadVocabulary(file)));

    /// <summary>The tokenizer in a Hugging Face folder; tokenizer.json first, because it holds the merges that the model was trained with.</summary>
    /// <exception cref="ModelFileException">There is none, or it is damaged.</exception>
    public static GemmaTokenizer OfFolder(string folder)
    {
        string json = Path.Combine(folder, "tokenizer.json");
        string model = Path.Combine(folder, "tokenizer.model");
        return File.Exists(json) ? Read(json, GemmaTokenizer.FromTokenizerJson)
            : File.Exists(model) ? Read(model, GemmaTokenizer.FromSentencePiece)
            : throw new ModelFileException(folder, 0, "The folder has neither tokenizer.json nor tokenizer.model.", "Get the model's tokenizer too.");
    }

    private static unsafe GemmaTokenizer Read(string path, Func<Stream, GemmaTokenizer> read)
    {
        using var file = new MappedFile(path);
        using var stream = new UnmanagedMemoryStream(file.At(0, file.Length), file.Length);
        return Checked(path, () => read(stream));
    }

    private static GemmaTokenizer Checked(string path, Func<GemmaTokenizer> read)
    {
        try
        {
            GemmaTokenizer tokenizer = read();
            return tokenizer.VocabSize > 0 ? tokenizer : throw new FormatException("The vocabulary is empty.");
        }
        catch (FormatException error)
        {
            throw new ModelFileException(path, 0, error.Message, ModelFileException.GetItAgain);
        }
    }
}
