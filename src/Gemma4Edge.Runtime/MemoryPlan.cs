using Gemma4Edge.Model;
using Gemma4Edge.Model.ModelFile;

namespace Gemma4Edge.Runtime;

/// <summary>Context and KV format of a service, and the memory they will take: what it owns (anonymous) and what of the model must stay in memory beside it.</summary>
/// <param name="Context">Longest sequence in tokens.</param>
/// <param name="Kv">How keys and values are kept.</param>
/// <param name="OwnBytes">Runtime, tokenizer, activations, and keys and values of all conversations when they are full.</param>
/// <param name="ResidentBytes">Weights that every token reads.</param>
public sealed record MemoryPlan(int Context, KvCacheFormat Kv, long OwnBytes, long ResidentBytes)
{
    private const int LeastContext = 512;

    /// <summary>Program, heap and stacks of a service without a model; 17 MB were measured with the demo model in all.</summary>
    private const long RuntimeBytes = 40 << 20;

    /// <summary>Tokenizer, sampler and head's scores by entry of the vocabulary.</summary>
    private const long BytesPerVocabularyEntry = 224;

    /// <summary>All of it.</summary>
    public long TotalBytes => OwnBytes + ResidentBytes;

    /// <summary>The largest plan that fits: the context is halved and keys and values are packed tighter, unless they were asked for.</summary>
    /// <param name="model">The model.</param>
    /// <param name="options">What was asked for; a context of 0 may be chosen.</param>
    /// <param name="isKvFree">The KV format may be chosen.</param>
    /// <param name="sessions">Conversations that are kept; requests without one share one more.</param>
    /// <param name="budgetBytes">What it must fit into.</param>
    /// <exception cref="ContextLengthException">The model was made for less context.</exception>
    /// <exception cref="InsufficientMemoryException">Nothing fits; the message has the numbers.</exception>
    public static MemoryPlan Choose(LoadedModel model, EngineOptions options, bool isKvFree, int sessions, long budgetBytes)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        int context = options.ContextWith(model.Config);
        while (true)
        {
            MemoryPlan plan = Of(model, options, context, options.Kv, sessions);
            if (plan.TotalBytes > budgetBytes && isKvFree && CanPack(model.Config))
            {
                MemoryPlan packed = Of(model, options, context, s_packed, sessions);
                plan = packed.TotalBytes < plan.TotalBytes ? packed : plan; // of small heads it may not be smaller
            }

            if (plan.TotalBytes <= budgetBytes)
            {
                return plan;
            }

            if (options.Context > 0 || context / 2 < LeastContext)
            {
                throw new InsufficientMemoryException(
                    $"{model.Name} needs {ByteSize.Text(plan.TotalBytes)} with a context of {plan.Context} tokens in {plan.Kv} for {sessions + 1} conversations ({ByteSize.Text(plan.OwnBytes)} of its own, {ByteSize.Text(plan.ResidentBytes)} of weights), "
                    + $"but the memory budget is {ByteSize.Text(budgetBytes)}: raise Model:MemoryBudget, lower Model:Context or Model:Sessions, or choose a smaller model.");
            }

            context /= 2;
        }
    }

    /// <summary>What a choice takes.</summary>
    public static MemoryPlan Of(LoadedModel model, EngineOptions options, int context, KvCacheFormat kv, int sessions)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        Gemma4Config config = model.Config;
        int chunk = Math.Min(options.PrefillChunk, context);
        long cache = KvCache.BytesOf(config, kv, context, chunk) + (context * sizeof(int));
        long own = RuntimeBytes + (BytesPerVocabularyEntry * config.VocabSize) + Gemma4Transformer.BytesOf(config, chunk)
            + ((sessions + 2) * cache); // one more than there are conversations: a cache that grows has its old and its new rows until the worker gives them back
        return new MemoryPlan(context, kv, own, model.BytesPerTokenWith(options.Head));
    }

    private static readonly KvCacheFormat s_packed = KvCacheFormat.TryFromName("k4v4", out KvCacheFormat? packed) ? packed : throw new InvalidOperationException();

    private static bool CanPack(Gemma4Config config)
    {
        try
        {
            KvCache.Check(config, s_packed);
            return true;
        }
        catch (KvFormatException)
        {
            return false;
        }
    }
}
