//! The page itself: every series of the recorded engine, in its order and with its words. What the simulator has no
//! notion of (other caches than its own, floating point work) stays zero.

use std::fmt::Write as _;

use super::Metrics;
use super::write::Page;
use crate::batching::Limits;
use crate::engine::Load;

impl Metrics {
    /// Writes the page.
    pub(crate) fn page(&self, admission: &Load) -> String {
        let mut page = Page::new(&self.model, self.created);
        self.work(&mut page);
        self.state(&mut page);
        self.caches(&mut page);
        self.tokens(&mut page);
        self.requests(&mut page, admission);
        self.sizes(&mut page);
        self.times(&mut page);
        self.rest(&mut page);
        page.text
    }

    fn work(&self, page: &mut Page) {
        page.counter("estimated_flops_per_gpu", "Estimated number of floating point operations per GPU (for Model Flops Utilization calculations).", 0);
        page.counter(
            "estimated_read_bytes_per_gpu",
            "Estimated number of bytes read from memory per GPU (for Model Flops Utilization calculations).",
            0,
        );
        page.counter(
            "estimated_write_bytes_per_gpu",
            "Estimated number of bytes written to memory per GPU (for Model Flops Utilization calculations).",
            0,
        );
    }

    fn state(&self, page: &mut Page) {
        let counters = self.counters;
        page.gauge(
            "num_requests_running",
            "Number of requests in model execution batches.",
            counters.running,
        );
        page.gauge("num_requests_waiting", "Number of requests waiting to be processed.", counters.waiting);
        page.gauges("num_requests_waiting_by_reason", "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals vllm:num_requests_waiting.", &[
            (Some(("reason", "capacity")), counters.waiting as f64),
            (Some(("reason", "deferred")), 0.0),
        ]);
        page.gauges("engine_sleep_state", "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.", &[
            (Some(("sleep_state", "awake")), 1.0),
            (Some(("sleep_state", "weights_offloaded")), 0.0),
            (Some(("sleep_state", "discard_all")), 0.0),
        ]);
        let usage = f64::from(counters.blocks_held) / f64::from(self.limits.num_gpu_blocks.max(1));
        page.gauges("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", &[(None, usage)]);
    }

    fn caches(&self, page: &mut Page) {
        let counters = self.counters;
        page.counter(
            "prefix_cache_queries",
            "Prefix cache queries, in terms of number of queried tokens.",
            counters.prefix_queries,
        );
        page.counter(
            "prefix_cache_hits",
            "Prefix cache hits, in terms of number of cached tokens.",
            counters.prefix_hits,
        );
        page.counter("external_prefix_cache_queries", "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried tokens.", 0);
        page.counter("external_prefix_cache_hits", "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached tokens.", 0);
        page.counter(
            "mm_cache_queries",
            "Multi-modal cache queries, in terms of number of queried items.",
            0,
        );
        page.counter("mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items.", 0);
    }

    fn tokens(&self, page: &mut Page) {
        let counters = self.counters;
        page.counter(
            "num_preemptions",
            "Cumulative number of preemption from the engine.",
            counters.preemptions,
        );
        page.counter("prompt_tokens", "Number of prefill tokens processed.", counters.prompt_tokens);
        page.counters(
            "prompt_tokens_by_source",
            "Number of prompt tokens by source.",
            &[
                (Some(("source", "local_compute")), counters.prompt_tokens - self.cached_tokens),
                (Some(("source", "local_cache_hit")), self.cached_tokens),
                (Some(("source", "external_kv_transfer")), 0),
            ],
        );
        page.counter(
            "prompt_tokens_cached",
            "Number of cached prompt tokens (local + external).",
            self.cached_tokens,
        );
        page.counters("prompt_tokens_cached_by_source", "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.", &[
            (Some(("source", "device")), counters.prefix_hits),
            (Some(("source", "host")), 0),
            (Some(("source", "p2p")), 0),
            (Some(("source", "disk")), 0),
            (Some(("source", "external_unspecified")), 0),
        ]);
        page.counter(
            "generation_tokens",
            "Number of generation tokens processed.",
            counters.generation_tokens,
        );
    }

    fn requests(&self, page: &mut Page, admission: &Load) {
        page.counters(
            "request_success",
            "Count of successfully processed requests.",
            &[
                (Some(("finished_reason", "stop")), self.stopped),
                (Some(("finished_reason", "length")), self.length),
                (Some(("finished_reason", "abort")), 0),
                (Some(("finished_reason", "error")), 0),
                (Some(("finished_reason", "repetition")), 0),
            ],
        );
        page.counters(
            "admission_rejections",
            "Number of admission attempts rejected by a queue limit, by reason.",
            &[
                (Some(("reason", "max_num_queued_reqs")), admission.rejected_for_requests),
                (Some(("reason", "max_num_queued_tokens")), admission.rejected_for_tokens),
            ],
        );
    }

    fn sizes(&self, page: &mut Page) {
        page.histogram("request_prompt_tokens", "Number of prefill tokens processed.", &self.prompt_tokens);
        page.histogram(
            "request_generation_tokens",
            "Number of generation tokens processed.",
            &self.generation_tokens,
        );
        page.histogram(
            "iteration_tokens_total",
            "Histogram of number of tokens per engine_step.",
            &self.step_tokens,
        );
        page.histogram(
            "request_max_num_generation_tokens",
            "Histogram of maximum number of requested generation tokens.",
            &self.longest_answer,
        );
        page.histogram("request_params_n", "Histogram of the n request parameter.", &self.answers);
        page.histogram(
            "request_params_max_tokens",
            "Histogram of the max_tokens request parameter.",
            &self.max_tokens,
        );
    }

    fn times(&self, page: &mut Page) {
        page.histogram(
            "time_to_first_token_seconds",
            "Histogram of time to first token in seconds.",
            &self.first_token,
        );
        page.histogram(
            "inter_token_latency_seconds",
            "Histogram of inter-token latency in seconds.",
            &self.between_tokens,
        );
        page.histogram(
            "request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            &self.per_output_token,
        );
        page.histogram(
            "e2e_request_latency_seconds",
            "Histogram of e2e request latency in seconds.",
            &self.whole,
        );
        page.histogram(
            "request_queue_time_seconds",
            "Histogram of time spent in WAITING phase for request.",
            &self.queue,
        );
        page.histogram(
            "request_inference_time_seconds",
            "Histogram of time spent in RUNNING phase for request.",
            &self.inference,
        );
        page.histogram(
            "request_prefill_time_seconds",
            "Histogram of time spent in PREFILL phase for request.",
            &self.prefill,
        );
        page.histogram(
            "request_decode_time_seconds",
            "Histogram of time spent in DECODE phase for request.",
            &self.decode,
        );
    }

    fn rest(&self, page: &mut Page) {
        page.histogram(
            "request_num_preemptions",
            "Histogram of the number of times a request was preempted.",
            &self.preemptions,
        );
        page.histogram(
            "request_prefill_kv_computed_tokens",
            "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
            &self.computed_tokens,
        );
        page.head("cache_config_info", "Information of the LLMEngine CacheConfig", "gauge");
        let Limits { block_size, num_gpu_blocks, enable_prefix_caching, .. } = self.limits;
        let tokens = u64::from(num_gpu_blocks) * u64::from(block_size);
        let concurrency = tokens as f64 / f64::from(self.max_model_len.max(1));
        let labels = CACHE
            .replace("{block_size}", &block_size.to_string())
            .replace("{blocks}", &num_gpu_blocks.to_string())
            .replace("{tokens}", &tokens.to_string())
            .replace("{caching}", if enable_prefix_caching { "True" } else { "False" })
            .replace("{concurrency}", &format!("{concurrency:?}"));
        let _ = writeln!(page.text, "vllm:cache_config_info{{{labels}}} 1.0");
    }
}

/// The settings of the recorded engine's cache, but for what can be set here.
const CACHE: &str = concat!(
    r#"_block_size_resolved="True",block_size="{block_size}",cache_dtype="auto","#,
    r#"cache_hit_alignment_tokens="None",effective_attention_block_size="{block_size}",enable_mamba_shared_prefix_checkpoint="False","#,
    r#"enable_prefix_caching="{caching}",engine="0",gpu_memory_utilization="0.92","#,
    r#"hash_block_size="None",is_attention_free="False",kv_cache_dtype_skip_layers="[]","#,
    r#"kv_cache_layout="None",kv_cache_max_concurrency="{concurrency}",kv_cache_memory_bytes="None","#,
    r#"kv_cache_size_tokens="{tokens}",kv_offloading_backend="native",kv_offloading_size="None","#,
    r#"kv_sharing_fast_prefill="False",mamba_block_size="None",mamba_cache_dtype="auto","#,
    r#"mamba_cache_mode="none",mamba_page_size_padded="None",mamba_ssm_cache_dtype="float32","#,
    r#"num_cpu_blocks="None",num_gpu_blocks="{blocks}",num_gpu_blocks_override="None","#,
    r#"prefix_cache_retention_interval="0",prefix_caching_hash_algo="sha256",prefix_match_unit="None","#,
    r#"replayssm_buffer_len="16",skip_page_size_padded="None",sliding_window="None","#,
    r#"swa_bounded_replay="True",use_kda_recoverssm="False",use_replayssm="False","#,
    r#"user_specified_block_size="False""#,
);
