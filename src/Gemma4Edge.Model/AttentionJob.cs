using Gemma4Edge.Kernels;

namespace Gemma4Edge.Model;

/// <summary>Attention of one layer, split over the pool. Prefill: an item is the query heads of one key/value head of some rows. Decode: its positions are cut into runs.</summary>
/// <remarks>
/// Where positions are cut depends on their number, not on the threads, and rows do not see each other: the result is the same for any number of
/// threads. Run from the compute thread only. Scratch belongs to the worker threads and is allocated on their first use.
/// </remarks>
internal sealed class AttentionJob(Gemma4Config config, WorkerPool pool) : IRangeJob
{
    /// <summary>Queries that share what is decoded: more would not fit the nearest cache beside it.</summary>
    private const int MaxQueries = 32;

    /// <summary>Runs of one decoded token: enough for any number of threads.</summary>
    private const int MaxRuns = 16;

    [ThreadStatic]
    private static Scratch? s_scratch;

    private readonly AttentionSums _total = new();
    private readonly List<AttentionQueries> _queries = []; // of one decoded token, by key/value head: every run reads them
    private AttentionSums[] _runs = [];
    private Activations? _activations;
    private KvPlane? _keys;
    private KvPlane? _values;
    private int _layer;
    private int _headDim;
    private int _kvHeads;
    private int _rowsPerItem;
    private int _runBlocks;
    private int _runCount;
    private KvCache? _cache;

    /// <summary>a.Heads = softmax(a.Q · K) V over the positions each row sees.</summary>
    public void Run(int layer, KvCache cache, Activations a)
    {
        (_layer, _cache, _activations) = (layer, cache, a);
        (_keys, _values) = (cache.Keys(layer), cache.Values(layer));
        _headDim = config.HeadDimOf(layer);
        _kvHeads = config.NumKeyValueHeads[layer];
        if (a.RowCount == 1)
        {
            Decode(a);
            return;
        }

        int together = _keys.DependsOnReader || _values.DependsOnReader ? 1 : Math.Max(1, MaxQueries * _kvHeads / config.NumAttentionHeads);
        _rowsPerItem = Math.Clamp(a.RowCount * _kvHeads / pool.Threads, 1, together);
        _runCount = 0;
        pool.Run(this, (a.RowCount + _rowsPerItem - 1) / _rowsPerItem * _kvHeads, grain: 1);
    }

    void IRangeJob.Run(int first, int count)
    {
        Scratch scratch = s_scratch ??= new Scratch();
        for (int item = first; item < first + count; item++)
        {
            if (_runCount > 0)
            {
                RunOfPositions(item, scratch.Kernel);
            }
            else
            {
                Rows(item, scratch);
            }
        }
    }

    private void Decode(Activations a)
    {
        int end = a.Positions[0] + 1;
        int firstBlock = _cache!.FirstVisible(_layer, a.Positions[0]) / AttentionKernel.BlockPositions;
        int blocks = ((end - 1) / AttentionKernel.BlockPositions) + 1 - firstBlock;
        _runBlocks = (blocks + MaxRuns - 1) / MaxRuns;
        _runCount = (blocks + _runBlocks - 1) / _runBlocks;
        int used = _runs.Length;
        if (used < _runCount * _kvHeads)
        {
            Array.Resize(ref _runs, _runCount * _kvHeads);
            for (; used < _runs.Length; used++)
            {
                _runs[used] = new AttentionSums();
            }
        }

        for (int kvHead = 0; kvHead < _kvHeads; kvHead++)
        {
            if (kvHead == _queries.Count)
            {
                _queries.Add(new AttentionQueries());
            }

            Load(_queries[kvHead], 0, 1, kvHead);
        }

        pool.Run(this, _runCount * _kvHeads, grain: 1);
        for (int kvHead = 0; kvHead < _kvHeads; kvHead++)
        {
            _total.Clear(_queries[kvHead]);
            foreach (AttentionSums run in _runs.AsSpan(kvHead * _runCount, _runCount))
            {
                _total.Merge(run);
            }

            _total.Write(0, _values!, HeadsOf(a.Heads(_headDim), 0, kvHead));
        }
    }

    /// <summary>One key/value head of one row over a run of its positions; the sums stay for <see cref="Decode"/>.</summary>
    private void RunOfPositions(int item, AttentionKernel kernel)
    {
        int kvHead = item / _runCount;
        AttentionQueries queries = _queries[kvHead];
        _runs[item].Clear(queries);
        int runPositions = _runBlocks * AttentionKernel.BlockPositions;
        int start = (queries.From / AttentionKernel.BlockPositions * AttentionKernel.BlockPositions) + (item % _runCount * runPositions);
        kernel.Attend(queries, _keys!, _values!, kvHead, Math.Max(start, queries.From), Math.Min(start + runPositions, queries.To), _runs[item]);
    }

    /// <summary>One key/value head of some rows over all they see.</summary>
    private void Rows(int item, Scratch scratch)
    {
        int kvHead = item % _kvHeads;
        int firstRow = item / _kvHeads * _rowsPerItem;
        int rows = Math.Min(_rowsPerItem, _activations!.RowCount - firstRow);
        Load(scratch.Queries, firstRow, rows, kvHead);
        scratch.Sums.Clear(scratch.Queries);
        scratch.Kernel.Attend(scratch.Queries, _keys!, _values!, kvHead, scratch.Queries.From, scratch.Queries.To, scratch.Sums);
        int headsPerRow = config.NumAttentionHeads / _kvHeads;
        for (int row = 0; row < rows; row++)
        {
            scratch.Sums.Write(row * headsPerRow, _values!, HeadsOf(_activations.Heads(_headDim), firstRow + row, kvHead));
        }
    }

    private void Load(AttentionQueries queries, int firstRow, int rows, int kvHead)
    {
        queries.Clear(_headDim);
        for (int row = firstRow; row < firstRow + rows; row++)
        {
            int position = _activations!.Positions[row];
            queries.Add(HeadsOf(_activations.Q(_headDim), row, kvHead), _keys!, _cache!.FirstVisible(_layer, position), position + 1);
        }
    }

    /// <summary>The query heads of a key/value head in one of the rows, (rows, NumAttentionHeads, d).</summary>
    private Span<float> HeadsOf(Span<float> rows, int row, int kvHead)
    {
        int width = config.NumAttentionHeads / _kvHeads * _headDim;
        return rows.Slice(((row * _kvHeads) + kvHead) * width, width);
    }

    private sealed class Scratch
    {
        public AttentionQueries Queries { get; } = new();

        public AttentionSums Sums { get; } = new();

        public AttentionKernel Kernel { get; } = new();
    }
}
