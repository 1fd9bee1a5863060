using Gemma4Edge.Model;

namespace Gemma4Edge.Cli;

/// <summary>Prompts that are fed to the network directly, without a session.</summary>
internal static class Prefill
{
    /// <summary>Runs <paramref name="tokens"/> through the network in chunks, reusing what <paramref name="cache"/> already holds of them.</summary>
    /// <param name="transformer">The network.</param>
    /// <param name="tokens">The whole prompt.</param>
    /// <param name="cache">Where it goes.</param>
    /// <param name="want">Which logits its last token gets: <see cref="LogitRows.Last"/> or <see cref="LogitRows.Shortlist"/>.</param>
    /// <param name="cancellation">Looked at between layers.</param>
    /// <param name="progress">Hears after each chunk but the last how many tokens are done.</param>
    /// <returns>The logits after the last token; valid until the next Forward.</returns>
    /// <exception cref="OperationCanceledException">The user stopped it.</exception>
    public static ReadOnlySpan<float> Run(
        Gemma4Transformer transformer, ReadOnlySpan<int> tokens, KvCache cache, LogitRows want, CancellationToken cancellation, Action<int>? progress = null)
    {
        int done = cache.KeepCommonPrefix(tokens);
        while (tokens.Length - done > transformer.MaxChunk)
        {
            transformer.Forward(tokens.Slice(done, transformer.MaxChunk), cache, LogitRows.None, cancellation);
            done += transformer.MaxChunk;
            progress?.Invoke(done);
        }

        return transformer.Forward(tokens[done..], cache, want, cancellation);
    }
}
