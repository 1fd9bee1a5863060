using System.Buffers.Binary;
using System.Text.Json;
using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>The header of a safetensors file: a length u64 (little-endian), then a JSON object {name: {dtype, shape, data_offsets}}, then the data.</summary>
internal static class SafetensorsFile
{
    private const int MaxHeaderBytes = 8 << 20;
    private const int MaxTensors = 16_384;
    private const int MaxNameLength = 256;
    private const int MaxDimensions = 8;

    /// <summary>Adds every tensor of the file to the table; what lies outside the file or does not fit its shape is refused.</summary>
    /// <exception cref="ModelFileException">The header is no plausible one.</exception>
    public static void Read(MappedFile file, TensorTable tensors)
    {
        if (file.Length < sizeof(ulong))
        {
            throw Bad(file, 0, "The file ends inside the header length.");
        }

        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(file.Span(0, sizeof(ulong)));
        if (headerBytes > (ulong)Math.Min(MaxHeaderBytes, file.Length - sizeof(ulong)))
        {
            throw Bad(file, 0, $"The header length is {headerBytes}; expected at most {MaxHeaderBytes} and no more than the file.");
        }

        long dataStart = sizeof(ulong) + (long)headerBytes;
        var header = JsonSection.Parse(file.Path, sizeof(ulong), file.Span(sizeof(ulong), (int)headerBytes).ToArray());
        foreach ((string name, JsonElement entry) in header.Entries.Where(entry => entry.Key != "__metadata__"))
        {
            if (tensors.All.Count == MaxTensors || name.Length > MaxNameLength || name.Any(char.IsControl))
            {
                throw Bad(file, sizeof(ulong), $"The tensor '{name}' has no plausible name, or is one of more than {MaxTensors}.");
            }

            tensors.Add(ReadEntry(file, dataStart, name, header.ToSection(name, entry)));
        }
    }

    private static StoredTensor ReadEntry(MappedFile file, long dataStart, string name, JsonSection entry)
    {
        int[] shape = Array.ConvertAll(entry.Elements("shape", MaxDimensions), size => entry.ToInt32("shape", size, 0, int.MaxValue));
        long[] offsets = Array.ConvertAll(entry.Elements("data_offsets", 2), offset =>
            offset.ValueKind == JsonValueKind.Number && offset.TryGetInt64(out long bytes) ? bytes : throw entry.Bad("data_offsets", "holds no integer"));
        if (offsets.Length != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > file.Length - dataStart)
        {
            throw Bad(file, sizeof(ulong), $"The data of tensor '{name}' ({string.Join(" to ", offsets)}) does not lie in the file of {file.Length} bytes.");
        }

        string type = entry.OptionalText("dtype") ?? throw entry.Bad("dtype", "is missing");
        QuantFormat? format = type is "F32" or "F16" or "BF16" && QuantFormats.TryFromName(type.ToLowerInvariant(), out QuantFormat? known) ? known : null;
        Int128 count = shape.Aggregate((Int128)1, (product, size) => product <= long.MaxValue ? product * size : product);
        long bytes = offsets[1] - offsets[0];
        if (format is not null && count * format.BlockBytes != bytes)
        {
            throw Bad(file, sizeof(ulong), $"The tensor '{name}' of shape {StoredTensor.Describe(shape)} and type {type} has {bytes} bytes; expected {count * format.BlockBytes}.");
        }

        return new StoredTensor(file, name, shape, format, type.ToLowerInvariant(), dataStart + offsets[0], bytes);
    }

    private static ModelFileException Bad(MappedFile file, long at, string problem) => new(file.Path, at, problem, ModelFileException.GetItAgain);
}
