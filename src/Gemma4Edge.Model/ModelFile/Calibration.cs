using System.Text.Json;
using Gemma4Edge.Kernels;
using Gemma4Edge.Model.Text;

namespace Gemma4Edge.Model.ModelFile;

/// <summary>The mean square of every input of every matrix, from running the source model over a text; and the factors of the columns that follow from them.</summary>
/// <remarks>
/// A rotation spreads the error of a row evenly over its columns, so column j is best multiplied by s_j, s_j⁴ = E x_j² / E w_j², and its activation
/// divided by it: what the activations make large is coded finer. Factors are scaled to a geometric mean of 1 and kept within 1/16 … 16.
/// </remarks>
internal sealed unsafe class Calibration
{
    private const int Sequence = 512;
    private const int MaxTokens = 1 << 15;
    private const float MaxFactor = 16;

    private readonly Dictionary<nint, double[]> _squares = [];

    /// <summary>Runs the model.</summary>
    /// <param name="model">The source.</param>
    /// <param name="path">Text, or JSON lines.</param>
    /// <param name="kernels">What computes.</param>
    /// <param name="pool">Threads.</param>
    /// <param name="progress">Gets tokens run and all tokens.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <exception cref="ConversionException">The file has no text.</exception>
    public static Calibration Gather(LoadedModel model, string path, CpuKernels kernels, WorkerPool pool, Action<long, long> progress, CancellationToken cancellation)
    {
        var calibration = new Calibration();
        int context = Math.Min(Sequence, model.Config.MaxPositionEmbeddings);
        var network = new Gemma4Transformer(model.Config, model.Weights, kernels, pool, context, maxChunk: 64, skipShared: false, ActivationFormat.Float);
        network.Multiplier.Observer = calibration.Observe;
        List<int[]> sequences = Sequences(model.OpenTokenizer(), path, context);
        long total = sequences.Sum(sequence => (long)sequence.Length), done = 0;
        foreach (int[] sequence in sequences)
        {
            var cache = new KvCache(model.Config, KvCacheFormat.F32, context, network.MaxChunk);
            foreach (int[] chunk in sequence.Chunk(network.MaxLogitRows))
            {
                network.Forward(chunk, cache, LogitRows.All, cancellation);
                progress(done += chunk.Length, total);
            }
        }

        return calibration;
    }

    /// <summary>The factors of a matrix's columns; null = it was never used.</summary>
    public float[]? Diagonal(MatrixSource source)
    {
        if (!_squares.TryGetValue((nint)source.Tensor.File.At(source.Tensor.Offset, 0), out double[]? squares))
        {
            return null;
        }

        double[] energies = source.ColumnEnergies();
        var logs = new double[squares.Length];
        for (int column = 0; column < logs.Length; column++)
        {
            bool known = squares[column] > 0 && energies[column] > 0;
            logs[column] = known ? Math.Log(squares[column] / energies[column]) / 4 : double.NaN;
        }

        double mean = logs.Where(double.IsFinite).DefaultIfEmpty(0).Average();
        return Array.ConvertAll(logs, log => double.IsFinite(log) ? Math.Clamp((float)Math.Exp(log - mean), 1 / MaxFactor, MaxFactor) : 1);
    }

    private void Observe(WeightMatrix w, ReadOnlySpan<float> x, int tokens)
    {
        if (!_squares.TryGetValue((nint)w.Data, out double[]? squares))
        {
            _squares[(nint)w.Data] = squares = new double[w.Columns];
        }

        for (int token = 0; token < tokens; token++)
        {
            for (int column = 0; column < squares.Length; column++)
            {
                double value = x[(token * squares.Length) + column];
                squares[column] += value * value;
            }
        }
    }

    private static List<int[]> Sequences(GemmaTokenizer tokenizer, string path, int context)
    {
        var sequences = new List<int[]>();
        int tokens = 0;
        foreach (string text in Texts(path))
        {
            List<int> ids = [];
            tokenizer.Encode(text, specialTokens: true, ids);
            foreach (int[] part in ids.Chunk(context - 1).TakeWhile(_ => tokens < MaxTokens))
            {
                sequences.Add(part[0] == tokenizer.Special.Bos || tokenizer.Special.Bos < 0 ? part : [tokenizer.Special.Bos, .. part]);
                tokens += part.Length;
            }
        }

        return sequences.Count > 0 ? sequences : throw new ConversionException($"{path} has no text to calibrate with: give a text file or JSON lines with text.");
    }

    private static IEnumerable<string> Texts(string path)
    {
        if (!path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase))
        {
            return [File.ReadAllText(path)];
        }

        return File.ReadLines(path).Where(line => line.Length > 0).Select((line, index) =>
        {
            try
            {
                JsonElement item = JsonElement.Parse(line);
                return item.TryGetProperty("text", out JsonElement text) ? text.GetString()! : item.GetProperty("prompt").GetString() + item.GetProperty("completion").GetString();
            }
            catch (Exception error) when (error is JsonException or InvalidOperationException or KeyNotFoundException)
            {
                throw new ConversionException($"{path} line {index + 1} has neither 'text' nor 'prompt' and 'completion': give JSON objects with one of them.");
            }
        });
    }
}
