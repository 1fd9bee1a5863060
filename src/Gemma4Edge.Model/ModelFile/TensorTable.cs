namespace Gemma4Edge.Model.ModelFile;

/// <summary>The tensors of one model under the names of the Hugging Face checkpoint (without its prefix), whatever the file calls them.</summary>
/// <param name="path">The model, for messages.</param>
/// <param name="nameInFile">From the checkpoint's name to the file's.</param>
internal sealed class TensorTable(string path, Func<string, string> nameInFile)
{
    private readonly Dictionary<string, StoredTensor> _byName = [];

    /// <summary>The model, for messages.</summary>
    public string Path => path;

    /// <summary>Every tensor, in the order of the file.</summary>
    public List<StoredTensor> All { get; } = [];

    /// <summary>Takes a tensor in.</summary>
    /// <exception cref="ModelFileException">The name is taken.</exception>
    public void Add(StoredTensor tensor)
    {
        if (!_byName.TryAdd(tensor.Name, tensor))
        {
            throw new ModelFileException(tensor.File.Path, tensor.Offset, $"Two tensors are named '{tensor.Name}'.", ModelFileException.GetItAgain);
        }

        All.Add(tensor);
    }

    /// <summary>The tensor, or null.</summary>
    public StoredTensor? Find(string name) => _byName.GetValueOrDefault(nameInFile(name));

    /// <summary>The tensor that the file itself calls so, or null.</summary>
    public StoredTensor? FindInFile(string name) => _byName.GetValueOrDefault(name);

    /// <summary>The tensor.</summary>
    /// <exception cref="ModelFileException">The model has none of that name.</exception>
    public StoredTensor Get(string name) =>
        Find(name) ?? throw new ModelFileException(path, 0, $"The tensor '{nameInFile(name)}' is missing.", "Get the complete Gemma 4 text model.");
}
